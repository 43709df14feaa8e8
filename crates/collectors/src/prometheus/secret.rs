use std::fmt;
use std::path::PathBuf;

/// A token, password or address that nobody prints.
#[derive(Clone)]
pub enum Secret {
    /// The text itself.
    Text(String),
    /// A file that holds it. It is read anew each time, for tokens of clusters are replaced every hour.
    File(PathBuf),
}

impl Secret {
    /// Returns the text, without the line break at its end.
    ///
    /// # Errors
    /// A sentence that names the file, never what it holds.
    pub async fn read(&self) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => {
                let text = tokio::fs::read_to_string(path).await;
                let text = text.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
                Ok(text.trim().to_owned())
            }
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => out.write_str("(hidden)"),
            Self::File(path) => write!(out, "{}", path.display()),
        }
    }
}
