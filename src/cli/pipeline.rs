//! `fanlight pipeline`: what there is to build from, and what a camera's pipeline looks like.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use gstreamer as gst;
use gstreamer::prelude::*;

use crate::capture::plan;
use crate::config::{self, model::Camera};
use crate::pipelines::{Chain, Library};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List all fragments, with the operator's own marked
    List,
    /// Print a camera's pipeline as a line for gst-launch-1.0
    Show {
        /// The camera's id
        camera: String,
        /// Print passwords instead of ***
        #[arg(long)]
        secrets: bool,
    },
    /// Print a camera's pipeline as a graph for Graphviz
    Dot {
        /// The camera's id
        camera: String,
    },
}

pub fn run(args: &Args, file: Option<&Path>, out: &mut dyn Write) -> anyhow::Result<u8> {
    gst::init().context("GStreamer does not start")?;
    let loaded = config::load(file, config::process_environment)?;
    let library = Library::load(&loaded.config.pipelines.directory)?;
    let camera = |id: &str| -> anyhow::Result<Camera> {
        let found = loaded.config.cameras.iter().find(|camera| camera.id == id);
        let Some(camera) = found else {
            let known: Vec<_> = loaded.config.cameras.iter().map(|camera| camera.id.as_str()).collect();
            bail!("there is no camera {id:?}; there are {}", known.join(", "));
        };
        Ok(camera.clone())
    };
    match &args.command {
        Command::List => {
            for (fragment, own) in library.iter() {
                let own = own.map(|path| format!("  [{}]", path.display())).unwrap_or_default();
                writeln!(out, "{:24} {}{own}", fragment.name, fragment.about)?;
            }
        }
        Command::Show { camera: id, secrets } => {
            let (source, branches) = shown(&library, &camera(id)?)?;
            let mut line = format!("gst-launch-1.0 {} ! tee name=tee", source.shell(*secrets));
            for (_, branch) in branches {
                let branch = branch.shell(*secrets);
                let branch = if branch.is_empty() { branch } else { format!("{branch} ! ") };
                line.push_str(&format!("  tee. ! queue ! {branch}fakesink sync=false async=false"));
            }
            writeln!(out, "{line}")?;
        }
        Command::Dot { camera: id } => out.write_all(dot(&library, &camera(id)?)?.as_bytes())?,
    }
    Ok(0)
}

fn shown(library: &Library, camera: &Camera) -> anyhow::Result<(Chain, Vec<(crate::frames::Codec, Chain)>)> {
    plan::shown(library, camera)
        .map_err(|failure| anyhow::anyhow!("camera {}: {}", camera.id, failure.message))
}

/// The graph of the pipeline as shown, built and not started.
fn dot(library: &Library, camera: &Camera) -> anyhow::Result<String> {
    let (source, branches) = shown(library, camera)?;
    let mut syntax = format!("{} ! tee name=tee", source.syntax());
    for (_, branch) in branches {
        let branch = branch.syntax();
        let branch = if branch.is_empty() { branch } else { format!("{branch} ! ") };
        syntax.push_str(&format!(" tee. ! queue ! {branch}fakesink sync=false async=false"));
    }
    let pipeline = gst::parse::launch(&syntax)
        .with_context(|| format!("camera {}: GStreamer cannot build {syntax}", camera.id))?
        .downcast::<gst::Pipeline>()
        .map_err(|_| anyhow::anyhow!("camera {}: the fragments do not make a pipeline", camera.id))?;
    Ok(pipeline.debug_to_dot_data(gst::DebugGraphDetails::all()).to_string())
}
