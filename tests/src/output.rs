//! What a program has said.

/// Standard output, standard error and exit status of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Standard output, with invalid UTF-8 replaced.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// Exit status; 128 plus the signal for a process that was killed.
    pub status: u32,
}

impl Output {
    /// Standard output without surrounding space, of a process that must have succeeded.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.status, 0, "{self:#?}");
        self.stdout.trim()
    }

    /// Both outputs, of a process that must have failed.
    #[track_caller]
    pub fn failed(&self) -> String {
        assert_ne!(self.status, 0, "{self:#?}");
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl From<std::process::Output> for Output {
    fn from(output: std::process::Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().or(output.status.signal().map(|signal| 128 + signal));
        Self { stdout: text(&output.stdout), stderr: text(&output.stderr), status: code.unwrap_or(-1) as u32 }
    }
}
