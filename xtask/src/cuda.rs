//! What building for CUDA needs, looked for before cargo starts: build scripts and linkers say the same in a backtrace.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::bail;
use clap::ValueEnum;

/// The runner's features for CUDA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Feature {
    /// NVIDIA GPUs, with candle's and this project's kernels
    Cuda,
    /// The same, with convolutions through cuDNN 9
    Cudnn,
}

impl Feature {
    /// As cargo calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Cudnn => "cudnn",
        }
    }
}

/// Where toolkits are: what the build scripts of candle and cudarc look into too.
const ROOTS: [&str; 4] = ["/usr/local/cuda", "/opt/cuda", "/usr/lib/cuda", "/usr"];
/// The variables that name a toolkit to cudarc; where one of them is set, it looks nowhere else.
const VARIABLES: [&str; 5] = ["CUDA_HOME", "CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR", "CUDNN_LIB"];
/// Where libraries are below a root.
const BELOW: [&str; 8] = [
    "lib",
    "lib64",
    "lib64/stubs",
    "lib/stubs",
    "lib/x86_64",
    "lib/x86_64-linux-gnu",
    "targets/x86_64-linux/lib",
    "targets/x86_64-linux/lib/stubs",
];
/// Where every linker looks.
const SYSTEM: [&str; 8] = [
    "/lib",
    "/usr/lib",
    "/usr/local/lib",
    "/lib64",
    "/usr/lib64",
    "/usr/local/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
];

/// What a variable of the environment is set to.
type Variable = Box<dyn Fn(&str) -> Option<String>>;

/// What a build finds here.
pub(crate) struct Machine {
    variable: Variable,
    roots: Vec<PathBuf>,
    system: Vec<PathBuf>,
    /// The driver shows a GPU.
    gpu: bool,
}

impl Machine {
    /// This one.
    pub(crate) fn detect() -> Self {
        let quiet = || Stdio::null();
        let listed = Command::new("nvidia-smi").arg("-L").stdout(quiet()).stderr(quiet()).status();
        Self {
            variable: Box::new(|name| std::env::var(name).ok()),
            roots: ROOTS.map(PathBuf::from).into(),
            system: SYSTEM.map(PathBuf::from).into(),
            gpu: listed.is_ok_and(|status| status.success()),
        }
    }

    /// What `--device auto` is built with: CUDA where there is a GPU and a compiler, cuDNN where it is there too.
    pub(crate) fn auto(&self) -> Option<Feature> {
        (self.gpu && self.compiler().is_some()).then(|| self.best())
    }

    /// What `--device cuda` is built with: `asked`, or without a wish cuDNN where its library is.
    ///
    /// # Errors
    /// What is missing, and what to do about it.
    pub(crate) fn cuda(&self, asked: Option<Feature>) -> anyhow::Result<Feature> {
        if self.compiler().is_none() {
            bail!(
                "--device cuda is compiled with NVIDIA's nvcc, which is not on PATH or in $CUDA_HOME/bin: install \
                 the CUDA toolkit, version 12 or 13 (https://developer.nvidia.com/cuda-downloads), and put its bin \
                 folder on PATH"
            );
        }
        if !self.gpu && self.set("CUDA_COMPUTE_CAP").is_none() {
            bail!(
                "--device cuda is compiled for one kind of GPU, and nvidia-smi shows none here: set CUDA_COMPUTE_CAP \
                 to the compute capability of the GPU that it will run on (80 for an A100, 89 for an RTX 40, 90 for \
                 an H100)"
            );
        }
        let feature = asked.unwrap_or_else(|| self.best());
        if feature == Feature::Cudnn && !self.has_cudnn() {
            let Some(unnamed) = self.library("libcudnn.so.9") else {
                bail!(
                    "the feature cudnn is linked with cuDNN 9, and there is no libcudnn.so where the linker looks: \
                     install cuDNN's development package (https://developer.nvidia.com/cudnn-downloads), or name the \
                     folder above its lib in CUDNN_LIB and the toolkit's in CUDA_HOME (`--features cuda` does \
                     without)"
                );
            };
            bail!(
                "{} is there, but linkers look for libcudnn.so: `ln -s libcudnn.so.9 libcudnn.so` in its folder \
                 (`--features cuda` does without)",
                unnamed.display()
            );
        }
        Ok(feature)
    }

    /// A search path for programs on which the compiler is, where the present one lacks it: cudarc asks there alone.
    pub(crate) fn path(&self) -> Option<std::ffi::OsString> {
        let compiler = self.compiler()?;
        let folder = compiler.parent()?.to_path_buf();
        let mut folders = self.path_folders();
        if folders.iter().any(|there| there.join(NVCC).is_file()) {
            return None;
        }
        folders.insert(0, folder);
        std::env::join_paths(folders).ok()
    }

    fn best(&self) -> Feature {
        if self.has_cudnn() { Feature::Cudnn } else { Feature::Cuda }
    }

    /// `nvcc`, looked for as candle's build script does.
    fn compiler(&self) -> Option<PathBuf> {
        let named = self.set("NVCC").map(PathBuf::from);
        let on_path = self.path_folders().into_iter().map(|folder| folder.join(NVCC));
        let home = self.set("CUDA_HOME").map(PathBuf::from).into_iter();
        let roots = home.chain(self.roots.iter().cloned()).map(|root| root.join("bin").join(NVCC));
        named.into_iter().chain(on_path).chain(roots).find(|path| path.is_file())
    }

    fn has_cudnn(&self) -> bool {
        // Elsewhere other names and folders count, and the linker has the word.
        !cfg!(target_os = "linux") || self.library("libcudnn.so").is_some()
    }

    /// A library where the linker will look for it.
    fn library(&self, name: &str) -> Option<PathBuf> {
        let named: Vec<_> =
            VARIABLES.iter().filter_map(|variable| self.set(variable)).map(PathBuf::from).collect();
        let roots = if named.is_empty() { &self.roots } else { &named };
        let below = roots.iter().flat_map(|root| BELOW.map(|folder| root.join(folder)));
        let listed = self.set("LIBRARY_PATH");
        let listed: Vec<_> = listed.iter().flat_map(std::env::split_paths).collect();
        let folders = below.chain(listed).chain(self.flag_folders()).chain(self.system.iter().cloned());
        folders.map(|folder| folder.join(name)).find(|path| path.is_file())
    }

    /// Folders that `RUSTFLAGS` names: `-L native=DIR`, `-LDIR`.
    fn flag_folders(&self) -> Vec<PathBuf> {
        let flags = self.set("RUSTFLAGS").unwrap_or_default();
        let mut words = flags.split_whitespace();
        let mut folders = Vec::new();
        while let Some(word) = words.next() {
            let Some(value) = word.strip_prefix("-L") else { continue };
            let value = if value.is_empty() { words.next().unwrap_or_default() } else { value };
            let path = value.split_once('=').map_or(value, |(_, path)| path);
            folders.push(path.into());
        }
        folders
    }

    fn path_folders(&self) -> Vec<PathBuf> {
        self.set("PATH").iter().flat_map(std::env::split_paths).collect()
    }

    /// A variable that is set to something.
    fn set(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }
}

const NVCC: &str = if cfg!(windows) { "nvcc.exe" } else { "nvcc" };

/// A machine that is made up: `roots` for toolkits, nothing in the system's folders.
#[cfg(test)]
pub(crate) fn made_up(variables: &[(&str, String)], roots: &[PathBuf], gpu: bool) -> Machine {
    let variables: Vec<_> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let variable =
        move |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    Machine { variable: Box::new(variable), roots: roots.to_vec(), system: Vec::new(), gpu }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::Feature::{Cuda, Cudnn};
    use super::*;

    /// A folder of this test, with these files in it.
    fn folder(name: &str, files: &[&str]) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("lrlab-xtask-{}-{name}", std::process::id()));
        for file in files {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let bare = folder("bare", &["bin/other"]);
        let toolkit = folder("toolkit", &["bin/nvcc"]);
        let cudnn = folder("cudnn", &["lib/libcudnn.so"]);
        let unnamed = folder("unnamed", &["lib/libcudnn.so.9"]);
        let both = folder("both", &["bin/nvcc", "lib64/libcudnn.so"]);
        let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
        let home = ("CUDA_HOME", text(&toolkit));
        let check =
            |variables: &[(&str, String)], root: &PathBuf, gpu, asked, auto, cuda: Result<_, &str>| {
                let machine = made_up(variables, std::slice::from_ref(root), gpu);
                assert_eq!(machine.auto(), auto, "{variables:?} {root:?}");
                match (machine.cuda(asked), cuda) {
                    (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{variables:?} {root:?}"),
                    (Err(error), Err(word)) => {
                        let told = error.to_string();
                        assert!(told.contains(word) && !told.contains('\n'), "{word}: {told}");
                    }
                    (found, expected) => panic!("{variables:?} {root:?}: {found:?}, not {expected:?}"),
                }
            };
        let capability = ("CUDA_COMPUTE_CAP", "90".to_owned());
        check(&[], &bare, true, None, None, Err("install the CUDA toolkit"));
        check(&[("PATH", text(&bare.join("bin")))], &bare, true, None, None, Err("nvcc"));
        check(&[("NVCC", text(&bare.join("none")))], &bare, true, None, None, Err("nvcc"));
        check(&[], &toolkit, true, None, Some(Cuda), Ok(Cuda));
        check(&[("PATH", text(&toolkit.join("bin")))], &bare, true, None, Some(Cuda), Ok(Cuda));
        check(&[("NVCC", text(&toolkit.join("bin/nvcc")))], &bare, true, None, Some(Cuda), Ok(Cuda));
        check(std::slice::from_ref(&home), &bare, true, None, Some(Cuda), Ok(Cuda));
        // A compiler without a GPU builds for one that is named.
        check(&[], &toolkit, false, None, None, Err("CUDA_COMPUTE_CAP"));
        check(std::slice::from_ref(&capability), &toolkit, false, None, None, Ok(Cuda));
        // cuDNN is taken where it is, left out on request, and asked for in vain where it is not.
        check(&[], &both, true, None, Some(Cudnn), Ok(Cudnn));
        check(&[], &both, true, Some(Cuda), Some(Cudnn), Ok(Cuda));
        check(&[], &toolkit, true, Some(Cudnn), Some(Cuda), Err("install cuDNN's development package"));
        let beside = [home.clone(), ("CUDNN_LIB", text(&cudnn))];
        check(&beside, &bare, true, Some(Cudnn), Some(Cudnn), Ok(Cudnn));
        let beside = [home.clone(), ("CUDNN_LIB", text(&unnamed))];
        check(&beside, &bare, true, Some(Cudnn), Some(Cuda), Err("ln -s libcudnn.so.9 libcudnn.so"));
        // Where a variable names a toolkit, cudarc looks nowhere else.
        check(std::slice::from_ref(&home), &both, true, None, Some(Cuda), Ok(Cuda));
        for flags in [format!("-L native={}/lib", cudnn.display()), format!("-O -L{}/lib", cudnn.display())] {
            let flags = [home.clone(), ("RUSTFLAGS", flags)];
            check(&flags, &bare, true, None, Some(Cudnn), Ok(Cudnn));
        }
        let listed = [home, ("LIBRARY_PATH", format!("/nowhere:{}/lib", cudnn.display()))];
        check(&listed, &bare, true, None, Some(Cudnn), Ok(Cudnn));
        for made in [bare, toolkit, cudnn, unnamed, both] {
            std::fs::remove_dir_all(made).unwrap();
        }
    }

    #[test]
    fn the_compiler_is_put_on_the_path_where_it_is_not() {
        let toolkit = folder("path", &["bin/nvcc"]);
        let bin = toolkit.join("bin");
        let path =
            |path: &str| made_up(&[("PATH", path.to_owned())], std::slice::from_ref(&toolkit), true).path();
        let expected = format!("{}:/nowhere", bin.display());
        assert_eq!(path("/nowhere").unwrap(), *expected);
        assert_eq!(path(&expected), None);
        std::fs::remove_dir_all(toolkit).unwrap();
    }
}
