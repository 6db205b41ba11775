//! Orders to a running simulator, a line each on its standard input: trouble for tests, buttons for people.
//!
//! `[SERIAL] ORDER [VALUE…]`; without a serial number all printers obey. Each is answered by `ok LINE`, or by
//! `no LINE: why`. The list is in docs/printers.md.

use std::time::Duration;

use super::machine::{Machine, Verifies};

/// What `fail` gives when nothing is named: nozzle temperature malfunction, and what the screen says of it.
const PRINT_ERROR: u32 = 0x0300_8002;
const HMS: (u32, u32) = (0x0300_0200, 0x0001_0001);

#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// What the machine does or how it behaves.
    Machine(Act),
    /// The broker goes, and comes back when told.
    Broker(bool),
    /// Everything of the network is away for this long.
    Reboot(Duration),
    /// Another certificate from now on.
    Certificate,
    /// Another access code from now on.
    Code(String),
    Camera(CameraIs),
    /// "LAN Only Liveview".
    Liveview(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CameraIs {
    Serving,
    /// Its port is closed.
    Closed,
    /// It accepts and says nothing.
    Mute,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    Start,
    Pause,
    Resume,
    Finish,
    Fail(u32, (u32, u32)),
    Silent(bool),
    Acks(bool),
    Verifies(Option<Verifies>),
    Wrong(bool),
}

impl Act {
    pub fn on(self, machine: &mut Machine) {
        match self {
            Act::Start => machine.start(),
            Act::Pause => machine.pause(),
            Act::Resume => machine.resume(),
            Act::Finish => machine.finish(),
            Act::Fail(error, hms) => machine.fail(error, Some(hms)),
            Act::Silent(silent) => machine.manners.silent = silent,
            Act::Acks(acks) => machine.manners.no_acks = !acks,
            Act::Verifies(how) => machine.manners.verifies = how,
            Act::Wrong(wrong) => machine.manners.wrong = wrong,
        }
    }
}

/// Whom an order is for, if it says so, and the order.
pub fn parse(line: &str) -> Result<(Option<&str>, Order), String> {
    let words: Vec<_> = line.split_whitespace().collect();
    let (whom, words) = match words.as_slice() {
        [first, rest @ ..] if looks_like_serial(first) => (Some(*first), rest),
        all => (None, all),
    };
    let order = match words {
        ["start"] => Order::Machine(Act::Start),
        ["pause"] => Order::Machine(Act::Pause),
        ["resume"] => Order::Machine(Act::Resume),
        ["finish"] => Order::Machine(Act::Finish),
        ["fail"] => Order::Machine(Act::Fail(PRINT_ERROR, HMS)),
        ["fail", error, hms] => {
            let code = |text: &str| u64::from_str_radix(&text.replace('_', ""), 16).ok();
            let (Some(error), Some(hms)) = (code(error), code(hms)) else {
                return Err("write codes as 0300_8002 and 0300_0200_0001_0001".into());
            };
            Order::Machine(Act::Fail(error as u32, ((hms >> 32) as u32, hms as u32)))
        }
        ["silence", how @ ("on" | "off")] => Order::Machine(Act::Silent(*how == "on")),
        ["acks", how @ ("on" | "off")] => Order::Machine(Act::Acks(*how == "on")),
        ["developer-mode", "on"] => Order::Machine(Act::Verifies(None)),
        ["developer-mode", "off"] => Order::Machine(Act::Verifies(Some(Verifies::Silently))),
        ["developer-mode", "off", "aloud"] => Order::Machine(Act::Verifies(Some(Verifies::Aloud))),
        ["nonsense", how @ ("on" | "off")] => Order::Machine(Act::Wrong(*how == "on")),
        ["broker", how @ ("on" | "off")] => Order::Broker(*how == "on"),
        ["reboot", seconds] => {
            let seconds: f64 = seconds.parse().map_err(|_| "reboot takes seconds")?;
            Order::Reboot(Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?)
        }
        ["certificate"] => Order::Certificate,
        ["code", code] => Order::Code((*code).to_owned()),
        ["camera", "on"] => Order::Camera(CameraIs::Serving),
        ["camera", "off"] => Order::Camera(CameraIs::Closed),
        ["camera", "mute"] => Order::Camera(CameraIs::Mute),
        ["liveview", how @ ("on" | "off")] => Order::Liveview(*how == "on"),
        _ => return Err("there is no such order".into()),
    };
    Ok((whom, order))
}

fn looks_like_serial(word: &str) -> bool {
    word.len() >= 10 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_with_and_without_whom_they_are_for() {
        for (line, whom, order) in [
            ("start", None, Order::Machine(Act::Start)),
            ("00M00A000000001 start", Some("00M00A000000001"), Order::Machine(Act::Start)),
            (" silence  on ", None, Order::Machine(Act::Silent(true))),
            ("developer-mode off", None, Order::Machine(Act::Verifies(Some(Verifies::Silently)))),
            (
                "fail 0300_8004 0700_2000_0002_0001",
                None,
                Order::Machine(Act::Fail(0x0300_8004, (0x0700_2000, 0x0002_0001))),
            ),
            ("reboot 2.5", None, Order::Reboot(Duration::from_millis(2500))),
            ("camera mute", None, Order::Camera(CameraIs::Mute)),
            ("code 87654321", None, Order::Code("87654321".into())),
        ] {
            assert_eq!(parse(line), Ok((whom, order)), "{line}");
        }
    }

    #[test]
    fn what_is_no_order_is_said() {
        for line in ["", "dance", "reboot soon", "reboot -1", "fail x y", "silence", "camera loud"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
