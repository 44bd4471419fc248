//! Checks the requirements of a CUDA build before cargo starts, because build scripts report them in a backtrace.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::bail;

/// Where to look for toolkits, like candle's build script.
const ROOTS: [&str; 4] = ["/usr/local/cuda", "/opt/cuda", "/usr/lib/cuda", "/usr"];

/// The lowest compute capability that the kernels are compiled for.
const LEAST: u32 = 80;

/// Returns the value of an environment variable.
type Variable = Box<dyn Fn(&str) -> Option<String>>;

/// What a build finds on this machine.
pub(crate) struct Machine {
    variable: Variable,
    roots: Vec<PathBuf>,
    /// Whether the driver reports a GPU.
    gpu: bool,
    /// The compute capability of the first GPU, if known.
    capability: Option<u32>,
}

impl Machine {
    /// Detects this machine.
    pub(crate) fn detect() -> Self {
        let quiet = || Stdio::null();
        let listed = Command::new("nvidia-smi").arg("-L").stdout(quiet()).stderr(quiet()).status();
        let queried = Command::new("nvidia-smi")
            .args(["--query-gpu=compute_cap", "--format=csv,noheader"])
            .stderr(quiet())
            .output();
        // Older drivers do not know the property.
        let queried = queried.ok().filter(|output| output.status.success());
        let first =
            queried.and_then(|output| capability(String::from_utf8_lossy(&output.stdout).lines().next()?));
        Self {
            capability: first,
            variable: Box::new(|name| std::env::var(name).ok()),
            roots: ROOTS.map(PathBuf::from).into(),
            gpu: listed.is_ok_and(|status| status.success()),
        }
    }

    /// Returns whether `--device auto` includes CUDA: there are a GPU that the kernels can be compiled for, and a compiler.
    pub(crate) fn auto(&self) -> bool {
        self.gpu && self.capability.is_none_or(|capability| capability >= LEAST) && self.compiler().is_some()
    }

    /// Checks that `--device cuda` can be built.
    ///
    /// # Errors
    /// Returns an error that says what is missing and how to install it.
    pub(crate) fn cuda(&self) -> anyhow::Result<()> {
        if self.compiler().is_none() {
            bail!(
                "--device cuda is compiled with NVIDIA's nvcc, which is not on PATH or in $CUDA_HOME/bin: install \
                 the CUDA toolkit 13 (https://developer.nvidia.com/cuda-downloads), and put its bin folder on PATH"
            );
        }
        if !self.gpu && self.set("CUDA_COMPUTE_CAP").is_none() {
            bail!(
                "--device cuda is compiled for one kind of GPU, and nvidia-smi shows none here: set CUDA_COMPUTE_CAP \
                 to the compute capability of the GPU that it will run on (80 for an A100, 89 for an RTX 40, 90 for \
                 an H100)"
            );
        }
        if let Some(low) = self.capability.filter(|capability| *capability < LEAST)
            && self.set("CUDA_COMPUTE_CAP").is_none()
        {
            bail!(
                "nvidia-smi shows a GPU of compute capability {low}, and the kernels need instructions of {LEAST} or \
                 higher (an A100, RTX 30 or later): use --device cpu"
            );
        }
        if let Some(low) =
            self.set("CUDA_COMPUTE_CAP").and_then(|cap| capability(&cap)).filter(|cap| *cap < LEAST)
        {
            bail!(
                "CUDA_COMPUTE_CAP is {low}, and the kernels need instructions of compute capability {LEAST} or higher \
                 (an A100, RTX 30 or later)"
            );
        }
        Ok(())
    }

    /// Returns a search path for programs that includes the compiler, if the present one lacks it; cudarc only looks
    /// there.
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

    /// Finds `nvcc` like candle's build script.
    fn compiler(&self) -> Option<PathBuf> {
        let named = self.set("NVCC").map(PathBuf::from);
        let on_path = self.path_folders().into_iter().map(|folder| folder.join(NVCC));
        let home = self.set("CUDA_HOME").map(PathBuf::from).into_iter();
        let roots = home.chain(self.roots.iter().cloned()).map(|root| root.join("bin").join(NVCC));
        named.into_iter().chain(on_path).chain(roots).find(|path| path.is_file())
    }

    fn path_folders(&self) -> Vec<PathBuf> {
        self.set("PATH").iter().flat_map(std::env::split_paths).collect()
    }

    /// Returns a non-empty variable.
    fn set(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }
}

/// Reads a compute capability such as `90` or `90a`.
fn capability(text: &str) -> Option<u32> {
    let digits: String = text.trim().chars().filter(char::is_ascii_digit).collect();
    digits.parse().ok()
}

const NVCC: &str = if cfg!(windows) { "nvcc.exe" } else { "nvcc" };

/// A machine for tests, with toolkits in `roots`.
#[cfg(test)]
pub(crate) fn fake_machine(variables: &[(&str, String)], roots: &[PathBuf], gpu: bool) -> Machine {
    let variables: Vec<_> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let variable =
        move |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    Machine { variable: Box::new(variable), roots: roots.to_vec(), gpu, capability: None }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    /// Creates a folder of this test with these files.
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
    fn missing_requirements_are_reported_with_a_remedy() {
        let bare = folder("bare", &["bin/other"]);
        let toolkit = folder("toolkit", &["bin/nvcc"]);
        let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
        let check = |variables: &[(&str, String)], root: &PathBuf, gpu, auto, missing: Option<&str>| {
            let machine = fake_machine(variables, std::slice::from_ref(root), gpu);
            assert_eq!(machine.auto(), auto, "{variables:?} {root:?}");
            match (machine.cuda(), missing) {
                (Ok(()), None) => {}
                (Err(error), Some(word)) => {
                    let printed = error.to_string();
                    assert!(printed.contains(word) && !printed.contains('\n'), "{word}: {printed}");
                }
                (found, missing) => panic!("{variables:?} {root:?}: {found:?}, not {missing:?}"),
            }
        };
        check(&[], &bare, true, false, Some("install the CUDA toolkit"));
        check(&[("PATH", text(&bare.join("bin")))], &bare, true, false, Some("nvcc"));
        check(&[("NVCC", text(&bare.join("none")))], &bare, true, false, Some("nvcc"));
        check(&[], &toolkit, true, true, None);
        check(&[("PATH", text(&toolkit.join("bin")))], &bare, true, true, None);
        check(&[("NVCC", text(&toolkit.join("bin/nvcc")))], &bare, true, true, None);
        check(&[("CUDA_HOME", text(&toolkit))], &bare, true, true, None);
        // A compiler without a GPU builds for a given compute capability.
        check(&[], &toolkit, false, false, Some("CUDA_COMPUTE_CAP"));
        check(&[("CUDA_COMPUTE_CAP", "90".to_owned())], &toolkit, false, false, None);
        check(&[("CUDA_COMPUTE_CAP", "90a".to_owned())], &toolkit, true, true, None);
        let old = "CUDA_COMPUTE_CAP is 75";
        check(&[("CUDA_COMPUTE_CAP", "75".to_owned())], &toolkit, true, true, Some(old));
        // The GPU itself may be too old, as a T4 is.
        for (compute, auto) in [("7.5", false), ("8.0", true), ("12.0", true)] {
            let capability = capability(compute);
            let machine = Machine { capability, ..fake_machine(&[], std::slice::from_ref(&toolkit), true) };
            assert_eq!((machine.auto(), machine.cuda().is_ok()), (auto, auto), "{compute}");
        }
        for made in [bare, toolkit] {
            std::fs::remove_dir_all(made).unwrap();
        }
    }

    #[test]
    fn the_compiler_is_added_to_the_search_path() {
        let toolkit = folder("path", &["bin/nvcc"]);
        let bin = toolkit.join("bin");
        let path = |path: &str| {
            fake_machine(&[("PATH", path.to_owned())], std::slice::from_ref(&toolkit), true).path()
        };
        let expected = format!("{}:/nowhere", bin.display());
        assert_eq!(path("/nowhere").unwrap(), *expected);
        assert_eq!(path(&expected), None);
        std::fs::remove_dir_all(toolkit).unwrap();
    }
}
