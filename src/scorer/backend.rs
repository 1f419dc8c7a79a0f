//! Which ONNX runtime a process uses. It is chosen once: the runtime's interface is one for the whole process.

use std::{
    ffi::OsString,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use ort::environment::Environment;

/// The variable that names a native ONNX Runtime library.
const LIBRARY: &str = "ORT_DYLIB_PATH";

/// What runs the model's graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The ONNX Runtime library that the environment names.
    Native,
    /// tract, in pure Rust, built in.
    Tract,
}

/// The runtime of this process.
#[derive(Debug)]
pub struct Runtime {
    backend: Backend,
    complaint: Option<Complaint>,
    environment: Result<Environment, String>,
}

/// Why the library that was asked for is not used.
#[derive(Debug, thiserror::Error)]
#[error(
    "{LIBRARY} names {path}, which cannot be used: {reason}; the built-in runtime is used instead"
)]
struct Complaint {
    path: PathBuf,
    reason: String,
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

// === impl Backend ===

impl Backend {
    /// The backend's name in what `serve` prints.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Tract => "tract",
        }
    }
}

// === impl Runtime ===

impl Runtime {
    /// The runtime of this process, chosen by the environment at the first call.
    pub fn get() -> &'static Self {
        RUNTIME.get_or_init(|| Self::choose(std::env::var_os(LIBRARY)))
    }

    fn choose(library: Option<OsString>) -> Self {
        let path = library.filter(|path| !path.is_empty()).map(PathBuf::from);
        let complaint = match path {
            None => None,
            Some(path) => match load(&path) {
                Ok(environment) => {
                    let backend = Backend::Native;
                    return Self { backend, complaint: None, environment: Ok(environment) };
                }
                Err(reason) => Some(Complaint { path, reason }),
            },
        };
        ort::set_api(ort_tract::api());
        let environment = ort::init().build().map_err(|error| error.to_string());
        Self { backend: Backend::Tract, complaint, environment }
    }

    /// What runs the graphs.
    #[must_use]
    pub const fn backend(&self) -> Backend {
        self.backend
    }

    /// The runtime's own state, or why there is none.
    pub(super) fn environment(&self) -> Result<&Environment, String> {
        self.environment.as_ref().map_err(Clone::clone)
    }

    /// Why the library that was asked for is not used, if so.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        self.complaint.as_ref().map(ToString::to_string)
    }
}

/// Loads a native library; a wrong one must not end the process.
fn load(path: &Path) -> Result<Environment, String> {
    // A library that has the entry point, but gives nothing through it, makes the loader panic.
    let loaded = catch_unwind(AssertUnwindSafe(|| {
        let environment = ort::init_from(path).map_err(|error| error.to_string())?;
        environment.with_telemetry(false).build().map_err(|error| error.to_string())
    }));
    loaded.unwrap_or_else(|_| Err("it is no ONNX Runtime".to_owned()))
}
