//! Printers: what there is, what each is doing, having one do something. The same operations as over REST.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::access::Role;
use crate::api::rpc::error::Error;
use crate::api::rpc::session::Session;
use crate::api::rpc::table::{Method, method, params};
use crate::printers::Entry;
use crate::printers::command::Command;
use crate::printers::view::{PrinterView, StatusView};

pub fn methods() -> Vec<Method> {
    let (viewer, operator) = (Some(Role::Viewer), Some(Role::Operator));
    vec![
        method("get_printers", viewer, "All printers, the first that was added first.", list),
        method("get_printer_status", viewer, "What a printer is doing.", status),
        method(
            "printer_command",
            operator,
            "Has a printer do something; answers when it has said that it will.",
            command,
        ),
    ]
}

params! {
    ListPrinters {
        /// With everything that is known of each.
        full: Option<bool>,
    }
}

params! {
    /// One printer.
    OfPrinter {
        /// The printer's id.
        printer: i64,
        /// With everything that is known.
        full: Option<bool>,
    }
}

params! {
    PrinterOrder {
        /// The printer's id.
        printer: i64,
        /// What to do, as over REST: `{ "type": "pause" }`, `{ "type": "light", "on": false }`, …
        command: Command,
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct PrinterList {
    printers: Vec<PrinterView>,
    total: usize,
    connected: usize,
}

async fn list(session: Arc<Session>, params: ListPrinters) -> Result<PrinterList, Error> {
    let printers = &session.rpc.house().printers;
    let (list, full) = (printers.list(), params.full.unwrap_or_default());
    let exposes = printers.exposes() && session.role() >= Some(Role::Admin);
    Ok(PrinterList {
        printers: list.iter().map(|entry| PrinterView::of(entry, exposes, full)).collect(),
        total: list.len(),
        connected: list.iter().filter(|entry| StatusView::of(entry, false).connected).count(),
    })
}

async fn status(session: Arc<Session>, params: OfPrinter) -> Result<StatusView, Error> {
    let entry = session.rpc.house().printers.get(&params.printer.to_string())?;
    Ok(StatusView::of(&entry, params.full.unwrap_or_default()))
}

#[derive(Debug, Serialize, ToSchema)]
struct Ordered {
    /// Always true: what the printer does not take is an error.
    ok: bool,
}

async fn command(session: Arc<Session>, params: PrinterOrder) -> Result<Ordered, Error> {
    let printers = &session.rpc.house().printers;
    let entry = printers.get(&params.printer.to_string())?;
    printers.command(&entry, params.command).await?;
    Ok(Ordered { ok: true })
}

/// One printer. The parameters of the notification `printer_status_update`.
#[derive(Debug, Serialize, ToSchema)]
pub struct PrinterUpdate {
    /// The printer's id.
    id: i64,
    name: String,
    /// False once, when it has been deleted.
    present: bool,
    /// With details.
    status: StatusView,
}

impl PrinterUpdate {
    pub fn of(entry: &Entry, present: bool) -> Self {
        let printer = &entry.printer;
        let mut status = StatusView::of(entry, true);
        status.connected &= present;
        Self { id: printer.id, name: printer.name.clone(), present, status }
    }
}
