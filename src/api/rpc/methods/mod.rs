//! What the methods do, by area. Each file has the parameters, results and functions of its methods and
//! lists them; the functions ask [`crate::control`] and put the answer into the words of the interface.

pub mod cameras;
mod external;
pub mod files;
mod pictures;
pub mod printers;
mod service;
mod session;
mod stepper;
mod streams;

use super::table::Method;

/// The table.
pub fn all() -> Vec<Method> {
    let mut methods = session::methods();
    methods.extend(cameras::methods());
    methods.extend(pictures::methods());
    methods.extend(streams::methods());
    methods.extend(files::methods());
    methods.extend(external::methods());
    methods.extend(printers::methods());
    methods.extend(service::methods());
    methods.extend(stepper::methods());
    methods
}
