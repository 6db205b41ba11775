//! A V4L2 device by its ioctls: what it is, its formats, sizes and rates, its controls. For discovery, for the
//! API, and for the words of a device that cannot be opened. All of it blocks: call it off the runtime, and
//! do not wait for it without a limit, because drivers hang.

use std::io;
use std::path::Path;

use linuxvideo::controls::{Cid, ControlDesc, ControlFlags, CtrlType};
use linuxvideo::format::{FrameIntervals, FrameSizes, PixelFormat};
use linuxvideo::{BufType, CapabilityFlags, Device, Fract};
use serde::Serialize;
use utoipa::ToSchema;

use super::v4l2::{Kind, Mode, Offer, Rate, Rates, Side};
use crate::config::model::Resolution;
use crate::supervision::Failure;

/// A driver that lists more than this of anything is not believed.
const MOST: usize = 512;

/// What a device says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// `uvcvideo`.
    pub driver: String,
    /// For people.
    pub card: String,
    /// Whether pictures can be taken from this node.
    pub captures: bool,
    pub modes: Vec<Mode>,
    pub controls: Vec<Control>,
}

/// One control of a camera and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Control {
    /// For programs, as `v4l2-ctl` writes it: `exposure_time_absolute`.
    pub id: String,
    /// For people.
    pub name: String,
    #[serde(rename = "type")]
    pub kind: ControlKind,
    pub min: i64,
    pub max: i64,
    pub step: i64,
    pub default: i64,
    /// `null` when it can only be written.
    pub value: Option<i64>,
    /// The choices of a menu; empty for others.
    pub menu: Vec<Choice>,
    /// It shows something and cannot be set.
    pub read_only: bool,
    /// Another control (an automatic) has it now: what is set here has no effect until that is off.
    pub inactive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ControlKind {
    Integer,
    /// 0 or 1.
    Boolean,
    Menu,
    /// Setting it does something; it has no value.
    Button,
    Bitmask,
}

/// One entry of a menu.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Choice {
    pub value: i64,
    pub name: String,
}

impl Control {
    /// Whether `value` may be set, or why not.
    ///
    /// # Errors
    /// In words, with what is allowed.
    pub fn check(&self, value: i64) -> Result<(), String> {
        let Self { id, min, max, step, .. } = self;
        if self.read_only {
            return Err(format!("{id} only shows something and cannot be set"));
        }
        if !self.menu.is_empty() {
            if self.menu.iter().any(|choice| choice.value == value) {
                return Ok(());
            }
            let choices = self.menu.iter().map(|choice| format!("{} ({})", choice.value, choice.name));
            return Err(format!("{id}={value} is none of {}", choices.collect::<Vec<_>>().join(", ")));
        }
        let fits = match self.kind {
            ControlKind::Button => true,
            ControlKind::Bitmask => value >= 0 && value & !max == 0,
            _ => (*min..=*max).contains(&value) && (*step <= 1 || (value - min) % step == 0),
        };
        match fits {
            true => Ok(()),
            false if *step > 1 => Err(format!("{id}={value} is not {min} to {max} in steps of {step}")),
            false => Err(format!("{id}={value} is not {min} to {max}")),
        }
    }

    /// Whether others follow it: automatics, which are set before what they let go.
    fn leads(&self) -> bool {
        matches!(self.kind, ControlKind::Menu | ControlKind::Boolean)
    }
}

/// Reads everything. Blocks.
///
/// # Errors
/// In words with a mend: absent, busy, not permitted.
pub fn describe(path: &Path) -> Result<Description, Failure> {
    let device = Device::open(path).map_err(|error| cannot_open(path, &error))?;
    let caps = device.capabilities().map_err(|error| cannot_open(path, &error))?;
    let captures = caps.device_capabilities();
    let captures = captures
        .intersects(CapabilityFlags::VIDEO_CAPTURE | CapabilityFlags::VIDEO_CAPTURE_MPLANE)
        && !captures.intersects(CapabilityFlags::VIDEO_M2M | CapabilityFlags::VIDEO_M2M_MPLANE);
    Ok(Description {
        driver: caps.driver().to_owned(),
        card: caps.card().to_owned(),
        captures,
        modes: if captures { modes(&device) } else { Vec::new() },
        controls: controls(path, &device),
    })
}

/// The controls alone. Blocks.
///
/// # Errors
/// As [`describe`].
pub fn read_controls(path: &Path) -> Result<Vec<Control>, Failure> {
    let device = Device::open(path).map_err(|error| cannot_open(path, &error))?;
    Ok(controls(path, &device))
}

/// Sets controls, automatics before what they let go, and reads all of them again. What is not set for
/// whatever reason is in the second list, with words. Blocks.
///
/// # Errors
/// As [`describe`]: nothing was set then.
pub fn set_controls(path: &Path, values: &[(String, i64)]) -> Result<(Vec<Control>, Vec<String>), Failure> {
    let mut device = Device::open(path).map_err(|error| cannot_open(path, &error))?;
    let mut order: Vec<&(String, i64)> = values.iter().collect();
    let described = controls(path, &device);
    let leads = |id: &str| described.iter().any(|control| control.id == id && control.leads());
    order.sort_by_key(|(id, _)| !leads(id));
    let mut wrong = Vec::new();
    for (id, value) in order {
        if let Err(error) = set(&mut device, id, *value) {
            wrong.push(error);
        }
    }
    Ok((controls(path, &device), wrong))
}

fn set(device: &mut Device, id: &str, value: i64) -> Result<(), String> {
    let found = descriptions(device).into_iter().find(|control| slug(control.name()) == id);
    let control = match found {
        Some(control) => control.id(),
        None if id == "brightness" => Cid::BRIGHTNESS,
        None => return Err(format!("{id}: this camera has no such control")),
    };
    // The bits of a mask are unsigned.
    let value = i32::try_from(value).or_else(|_| u32::try_from(value).map(u32::cast_signed));
    let value = value.map_err(|_| format!("{id}: this is too large"))?;
    device.write_control_raw(control, value).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!(
                "{id}: the camera refuses it now; another control, an automatic perhaps, has to be off first"
            )
        }
        io::ErrorKind::ResourceBusy => format!("{id}: it cannot be changed while the camera gives pictures"),
        _ => format!("{id}={value}: {error}"),
    })
}

/// Why a device cannot be opened, and what to do.
pub fn cannot_open(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => Failure::absent(format!(
            "{path}: there is no such device; plug the camera in (`fanlight doctor` lists those that are)"
        )),
        io::ErrorKind::PermissionDenied => Failure::unsupported(format!(
            "{path}: this user may not open it; add the user to the group `video` and start the service again"
        )),
        io::ErrorKind::ResourceBusy => Failure::broken(format!(
            "{path}: another program holds it; `fuser -v {path}` names it: stop that one"
        )),
        // ENODEV and ENXIO: the node outlived its device.
        _ if matches!(error.raw_os_error(), Some(6 | 19)) => {
            Failure::absent(format!("{path}: the device was unplugged"))
        }
        _ if error.raw_os_error() == Some(25) => {
            Failure::unsupported(format!("{path}: this is not a video device"))
        }
        _ => Failure::broken(format!("{path} cannot be opened: {error}")),
    }
}

fn modes(device: &Device) -> Vec<Mode> {
    let mut modes = Vec::new();
    for kind in [BufType::VIDEO_CAPTURE, BufType::VIDEO_CAPTURE_MPLANE] {
        for format in device.formats(kind).map_while(Result::ok).take(MOST) {
            let pixels = format.pixel_format();
            let Ok(sizes) = device.frame_sizes(pixels) else { continue };
            let (kind, name) = named(pixels);
            let mut add = |size: Resolution, sides: Option<(Side, Side)>| {
                let rates = rates(device, pixels, size);
                let max_fps = rates.max_fps();
                let offer = Offer { sides, rates };
                if modes.len() < MOST {
                    modes.push(Mode { kind, pixels: name.clone(), size, max_fps, offer });
                }
            };
            match sizes {
                FrameSizes::Discrete(sizes) => sizes
                    .iter()
                    .for_each(|size| add(Resolution { width: size.width(), height: size.height() }, None)),
                FrameSizes::Stepwise(range) | FrameSizes::Continuous(range) => {
                    let width =
                        Side { min: range.min_width(), max: range.max_width(), step: range.step_width() };
                    let height =
                        Side { min: range.min_height(), max: range.max_height(), step: range.step_height() };
                    let sides = Some((width, height));
                    add(Resolution { width: width.min, height: height.min }, sides);
                    add(Resolution { width: width.max, height: height.max }, sides);
                }
            }
        }
    }
    modes
}

/// The kind and the name of a format: its four letters for raw ones.
fn named(pixels: PixelFormat) -> (Kind, String) {
    let letters = pixels.as_fourcc();
    match &letters {
        b"MJPG" | b"JPEG" => (Kind::Mjpeg, String::new()),
        b"H264" | b"AVC1" => (Kind::H264, String::new()),
        letters => (Kind::Raw, String::from_utf8_lossy(letters).trim_end_matches([' ', '\0']).to_owned()),
    }
}

fn rates(device: &Device, pixels: PixelFormat, size: Resolution) -> Rates {
    // An interval upside down is a rate.
    let rate = |interval: &Fract| {
        let rate = Rate { numer: interval.denominator(), denom: interval.numerator() };
        (rate.numer > 0 && rate.denom > 0).then_some(rate)
    };
    match device.frame_intervals(pixels, size.width, size.height) {
        Ok(FrameIntervals::Discrete(list)) => {
            let rates: Vec<Rate> = list.iter().take(MOST).filter_map(|it| rate(it.fract())).collect();
            if rates.is_empty() { Rates::Unsaid } else { Rates::List(rates) }
        }
        Ok(FrameIntervals::Stepwise(range) | FrameIntervals::Continuous(range)) => {
            // The longest interval is the slowest rate.
            rate(range.max())
                .zip(rate(range.min()))
                .map_or(Rates::Unsaid, |(slow, fast)| Rates::Range(slow, fast))
        }
        Err(_) => Rates::Unsaid,
    }
}

/// All controls, brightness first: linuxvideo asks for those after it.
fn controls(path: &Path, device: &Device) -> Vec<Control> {
    let listed = descriptions(device);
    let others = listed.iter().filter_map(|description| control(device, description));
    brightness(path).into_iter().chain(others).collect()
}

fn descriptions(device: &Device) -> Vec<ControlDesc> {
    device.controls().map_while(Result::ok).take(MOST).collect()
}

fn brightness(path: &Path) -> Option<Control> {
    const V4L2_CID_BRIGHTNESS: u32 = 0x0098_0900;
    let control = rscam::Camera::new(path.to_str()?).ok()?.get_control(V4L2_CID_BRIGHTNESS).ok()?;
    let rscam::CtrlData::Integer { value, default, minimum, maximum, step } = control.data else {
        return None;
    };
    let flag = |flag: ControlFlags| control.flags & flag.bits() != 0;
    (!flag(ControlFlags::DISABLED)).then(|| Control {
        id: slug(&control.name),
        name: control.name.clone(),
        kind: ControlKind::Integer,
        min: minimum.into(),
        max: maximum.into(),
        step: step.into(),
        default: default.into(),
        value: Some(value.into()),
        menu: Vec::new(),
        read_only: flag(ControlFlags::READ_ONLY),
        inactive: flag(ControlFlags::INACTIVE),
    })
}

/// `None` for headings and for what a number cannot hold.
fn control(device: &Device, description: &ControlDesc) -> Option<Control> {
    let kind = match description.control_type() {
        // The values of an integer menu are not read: it is set by its index.
        CtrlType::INTEGER | CtrlType::INTEGER_MENU => ControlKind::Integer,
        CtrlType::BOOLEAN => ControlKind::Boolean,
        CtrlType::MENU => ControlKind::Menu,
        CtrlType::BUTTON => ControlKind::Button,
        CtrlType::BITMASK => ControlKind::Bitmask,
        _ => return None,
    };
    let mut menu = Vec::new();
    if kind == ControlKind::Menu {
        let entries = device.enumerate_menu(description).map_while(Result::ok).take(MOST);
        menu.extend(
            entries.map(|entry| Choice { value: entry.index().into(), name: entry.name().to_owned() }),
        );
    }
    let flags = description.flags();
    let readable = kind != ControlKind::Button && !flags.contains(ControlFlags::WRITE_ONLY);
    let value = readable.then(|| device.read_control_raw(description.id()).ok()).flatten();
    // The bits of a mask are unsigned.
    let wide = |value: i32| match kind {
        ControlKind::Bitmask => i64::from(value.cast_unsigned()),
        _ => i64::from(value),
    };
    Some(Control {
        id: slug(description.name()),
        name: description.name().to_owned(),
        kind,
        min: description.minimum().into(),
        max: wide(description.maximum()),
        step: description.step().into(),
        default: wide(description.default_value()),
        value: value.map(wide),
        menu,
        read_only: flags.contains(ControlFlags::READ_ONLY),
        inactive: flags.contains(ControlFlags::INACTIVE),
    })
}

/// A control's name as `v4l2-ctl` writes it: `White Balance, Automatic` as `white_balance_automatic`.
pub fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => slug.push(c.to_ascii_lowercase()),
            _ if !slug.is_empty() && !slug.ends_with('_') => slug.push('_'),
            _ => {}
        }
    }
    slug.trim_end_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(min: i64, max: i64, step: i64) -> Control {
        Control {
            id: "gain".into(),
            name: "Gain".into(),
            kind: ControlKind::Integer,
            min,
            max,
            step,
            default: min,
            value: Some(min),
            menu: Vec::new(),
            read_only: false,
            inactive: false,
        }
    }

    #[test]
    fn only_what_a_control_takes_passes() {
        let choice = |value, name: &str| Choice { value, name: name.into() };
        let menu = vec![choice(1, "Manual Mode"), choice(3, "Aperture Priority Mode")];
        let menu = Control { kind: ControlKind::Menu, menu, ..integer(0, 3, 1) };
        let mask = Control { kind: ControlKind::Bitmask, ..integer(0, 0x8002, 0) };
        for (control, value, fits) in [
            (integer(-64, 64, 1), -64, true),
            (integer(-64, 64, 1), 65, false),
            (integer(10, 100, 15), 40, true),
            (integer(10, 100, 15), 41, false),
            (integer(0, 0, 0), 0, true),
            (Control { read_only: true, ..integer(0, 9, 1) }, 1, false),
            (menu.clone(), 3, true),
            (menu.clone(), 2, false),
            (mask.clone(), 0x8000, true),
            (mask, 0x4000, false),
        ] {
            assert_eq!(control.check(value).is_ok(), fits, "{control:?} {value}");
        }
        let words = menu.check(2).unwrap_err();
        assert!(words.contains("1 (Manual Mode), 3 (Aperture Priority Mode)"), "{words}");
    }

    #[test]
    fn controls_are_called_as_v4l2_ctl_calls_them() {
        for (name, expected) in [
            ("Brightness", "brightness"),
            ("White Balance, Automatic", "white_balance_automatic"),
            ("Exposure Time, Absolute", "exposure_time_absolute"),
            ("  Odd -- (name) ", "odd_name"),
        ] {
            assert_eq!(slug(name), expected);
        }
    }

    #[test]
    fn a_device_that_cannot_be_opened_says_what_to_do() {
        let path = Path::new("/dev/video7");
        for (errno, words) in [
            (2, "plug the camera in"),
            (13, "group `video`"),
            (16, "fuser -v /dev/video7"),
            (19, "was unplugged"),
            (25, "not a video device"),
        ] {
            let failure = cannot_open(path, &io::Error::from_raw_os_error(errno));
            assert!(
                failure.message.contains(words) && failure.message.contains("/dev/video7"),
                "{failure:?}"
            );
        }
        assert!(describe(Path::new("/dev/null")).unwrap_err().message.contains("not a video device"));
    }
}
