//! Why something that is asked of the printers is not done, in words for people.

use super::printer::FieldError;
use super::vault::VaultError;
use crate::storage::StorageError;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrinterError {
    #[error("there is no printer {0:?}; /api/printers lists them")]
    NoPrinter(String),
    #[error("{}", fields(.0))]
    Invalid(Vec<FieldError>),
    #[error("there are {0} printers already, as many as there may be")]
    TooMany(usize),
    #[error("printers cannot be kept: {0}")]
    NoDatabase(String),
    #[error("the access code cannot be kept: {0}")]
    Vault(#[from] VaultError),
    #[error("printers cannot be kept: {0}")]
    Storage(#[from] StorageError),
    #[error("printer {0} has shown no other certificate: there is nothing to accept")]
    NoCertificate(i64),
    #[error("printer {id} shows the certificate {shown} now; look at it again before you accept it")]
    OtherCertificate { id: i64, shown: String },
    #[error("searching for printers is switched off: printers.search in the configuration")]
    NoSearch,
    #[error("{0}")]
    Search(String),
    #[error("{0} printers are being tested already; try again in a moment")]
    Busy(usize),
    #[error("the change of a printer broke off; the log says why")]
    Broken,
}

fn fields(errors: &[FieldError]) -> String {
    let each: Vec<String> =
        errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
    each.join("; ")
}
