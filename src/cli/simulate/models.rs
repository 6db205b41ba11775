//! What the simulated models have and how they tell it. A table of its own: it is what the service's reading
//! of reports is tested against.

/// How a model gives its pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Camera {
    /// H.264 over `rtsps://…/streaming/live/1`.
    Rtsps,
    /// JPEGs over TLS on port 6000.
    Jpeg,
}

/// Where the temperature of the chamber stands in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chamber {
    /// There is no sensor, and the field says 5.
    Fake,
    /// `chamber_temper`.
    Field,
    /// `device.ctc.info.temp`, and no other field.
    Device,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Model {
    /// As on the command line.
    pub name: &'static str,
    /// What serials begin with.
    pub prefix: &'static str,
    pub firmware: &'static str,
    pub camera: Camera,
    pub chamber: Chamber,
    /// Nodes of `lights_report`.
    pub lights: &'static [&'static str],
    pub nozzles: usize,
    /// AMS units of four trays.
    pub ams: usize,
    /// Whether beds and nozzles stand under `device` as well, target and current in one number.
    pub device: bool,
    /// `stg_cur` while nothing is done.
    pub idle_stage: i64,
    /// Whether every third delta comes without `command`.
    pub bare_deltas: bool,
    /// Whether the URL that it tells of its camera has a host that leads nowhere.
    pub wrong_host: bool,
    /// How many stages the report's list of the job has: what makes reports of newer firmware long.
    pub job_stages: usize,
}

pub static MODELS: [Model; 5] = [
    Model {
        name: "X1C",
        prefix: "00M",
        firmware: "01.08.02.00",
        camera: Camera::Rtsps,
        chamber: Chamber::Field,
        lights: &["chamber_light", "work_light"],
        nozzles: 1,
        ams: 4,
        device: false,
        idle_stage: -1,
        bare_deltas: true,
        wrong_host: false,
        job_stages: 64,
    },
    Model {
        name: "P1S",
        prefix: "01P",
        firmware: "01.07.00.00",
        camera: Camera::Jpeg,
        chamber: Chamber::Fake,
        lights: &["chamber_light"],
        nozzles: 1,
        ams: 1,
        device: false,
        idle_stage: 255,
        bare_deltas: false,
        wrong_host: false,
        job_stages: 0,
    },
    Model {
        name: "A1",
        prefix: "039",
        firmware: "01.04.00.00",
        camera: Camera::Jpeg,
        chamber: Chamber::Fake,
        lights: &["chamber_light"],
        nozzles: 1,
        ams: 1,
        device: false,
        idle_stage: 255,
        bare_deltas: true,
        wrong_host: false,
        job_stages: 0,
    },
    Model {
        name: "P2S",
        prefix: "22E",
        firmware: "01.00.01.00",
        camera: Camera::Rtsps,
        chamber: Chamber::Device,
        lights: &["chamber_light"],
        nozzles: 1,
        ams: 1,
        device: true,
        idle_stage: -1,
        bare_deltas: false,
        wrong_host: false,
        job_stages: 12,
    },
    Model {
        name: "H2D",
        prefix: "094",
        firmware: "01.01.02.00",
        camera: Camera::Rtsps,
        chamber: Chamber::Device,
        lights: &["chamber_light", "chamber_light2", "heatbed_light"],
        nozzles: 2,
        ams: 2,
        device: true,
        idle_stage: -1,
        bare_deltas: false,
        wrong_host: true,
        job_stages: 80,
    },
];

/// Finds a model by its name, however that is written.
pub fn find(name: &str) -> Result<&'static Model, String> {
    MODELS.iter().find(|model| model.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
        let known: Vec<_> = MODELS.iter().map(|model| model.name).collect();
        format!("{name:?} cannot be simulated; there are {}", known.join(", "))
    })
}

impl Model {
    /// A serial number as this model's are: fifteen characters.
    pub fn serial(&self, number: usize) -> String {
        format!("{}00A{number:09}", self.prefix)
    }
}
