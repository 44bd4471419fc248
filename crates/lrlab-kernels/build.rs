//! Compiles the device code where the feature `cuda` asks for it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "cuda")]
    cuda();
}

#[cfg(feature = "cuda")]
fn cuda() {
    println!("cargo::rerun-if-changed=src/cuda/kernels");
    let compile = || -> Result<(), Box<dyn std::error::Error>> {
        let folder = "src/cuda/kernels";
        // Headers are not compiled themselves: a change of one compiles all again.
        let kernels = cudaforge::KernelBuilder::new().source_dir(folder).watch([folder]);
        kernels.arg("-std=c++17").arg("-O3").build_ptx()?;
        Ok(())
    };
    if let Err(error) = compile() {
        println!("cargo::error=the CUDA kernels were not compiled: {error}");
    }
}
