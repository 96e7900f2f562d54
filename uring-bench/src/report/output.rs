//! The files that a user asks for: whether they can be written is said before the measuring, not after it.

use serde::Serialize;
use std::path::{Path, PathBuf};

/// A file to be written, as an option's value. Its folder must be there.
pub fn output_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (folder.is_dir(), path.is_dir()) {
        (true, false) => Ok(path),
        (true, true) => Err("this is a folder: give a file in it".to_owned()),
        (false, _) => Err(format!("there is no folder {}: make it, or give another file", folder.display())),
    }
}

/// Writes figures as JSON, indented, with a line end behind them.
pub fn write_json(path: &Path, figures: &impl Serialize) -> Result<(), String> {
    let text = serde_json::to_string_pretty(figures).map_err(|error| error.to_string())?;
    write(path, &format!("{text}\n"))
}

/// Writes a text, or says which file refused it.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_folder_is_refused_before_anything_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("x.json");
        assert_eq!(output_file(inside.to_str().unwrap()), Ok(inside.clone()));
        assert_eq!(output_file("x.json"), Ok("x.json".into()));
        let missing = inside.join("y.json");
        assert!(output_file(missing.to_str().unwrap()).unwrap_err().contains("no folder"));
        assert!(output_file(folder.path().to_str().unwrap()).unwrap_err().contains("is a folder"));
        write_json(&inside, &[1, 2]).unwrap();
        assert_eq!(std::fs::read_to_string(&inside).unwrap(), "[\n  1,\n  2\n]\n");
        assert!(write(&missing, "").unwrap_err().contains("cannot write"));
    }
}
