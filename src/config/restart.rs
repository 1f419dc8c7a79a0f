//! What of a configuration holds until the process ends, whatever the file says later.

use super::settings::{Config, Timeouts};

impl Config {
    /// The keys with which `new` differs from this running configuration, and that only a restart can change.
    #[must_use]
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let captures = match (&self.capture, &new.capture) {
            (Some(own), Some(new)) => own.same_files(new).into(),
            (None, Some(_)) => vec![("capture.folder", false)],
            (Some(_) | None, None) => Vec::new(),
        };
        let captures = captures.into_iter().map(|(key, same)| (key, !same));
        let differs = [
            ("listen", self.listen != new.listen),
            ("ext_proc.listen", self.ext_proc != new.ext_proc),
            ("admin_listen", self.admin_listen != new.admin_listen),
            ("threads", self.connections.threads != new.connections.threads),
            ("audit.file", self.audit.file != new.audit.file),
            ("audit.hash_key_file", self.audit.hash_key_file != new.audit.hash_key_file),
            ("classifier.enabled", self.classifier.enabled != new.classifier.enabled),
            ("classifier.model", self.classifier.model != new.classifier.model),
            ("classifier.second", self.classifier.second != new.classifier.second),
            ("classifier.threads", self.classifier.threads != new.classifier.threads),
            ("classifier.threshold", self.classifier.threshold != new.classifier.threshold),
            ("classifier.action", self.classifier.action != new.classifier.action),
            ("classifier.hold", self.classifier.hold != new.classifier.hold),
            ("classifier.on_failure", self.classifier.on_failure != new.classifier.on_failure),
            ("classifier.deadline", self.classifier.deadline != new.classifier.deadline),
            (
                "classifier.waiting_bytes",
                self.classifier.waiting_bytes != new.classifier.waiting_bytes,
            ),
            ("limits.connections", self.connections.clients != new.connections.clients),
            ("timeouts.client_write", self.timeouts.client_write != new.timeouts.client_write),
            (
                "timeouts.request_header",
                self.timeouts.request_header != new.timeouts.request_header,
            ),
            ("timeouts.drain", self.timeouts.drain != new.timeouts.drain),
        ];
        differs
            .into_iter()
            .chain(captures)
            .filter_map(|(key, differs)| differs.then_some(key))
            .collect()
    }

    /// This running configuration with everything of `new` that needs no restart.
    #[must_use]
    pub fn renewed(&self, new: Self) -> Self {
        let mut audit = self.audit.clone();
        audit.text = new.audit.text;
        Self {
            listen: self.listen,
            admin_listen: self.admin_listen,
            ext_proc: self.ext_proc,
            audit,
            // Without the section nothing more is captured.
            capture: self.capture.as_ref().zip(new.capture).map(|(own, new)| own.renewed(new)),
            classifier: self.classifier.clone(),
            connections: self.connections,
            timeouts: Timeouts {
                connect: new.timeouts.connect,
                upstream_idle: new.timeouts.upstream_idle,
                ..self.timeouts
            },
            ..new
        }
    }
}
