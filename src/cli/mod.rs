//! The command line. Each command is a file of its own; here is only what they are called.

mod bounded;
pub mod config;
mod demo;
pub mod doctor;
pub mod healthcheck;
mod keys;
mod livekit;
mod pipeline;
pub mod probe;
mod run;
mod service;
mod simulate;

use std::io::Write;
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config as configuration;

/// Turns a camera into every stream people point at it.
#[derive(Debug, Parser)]
#[command(
    name = "fanlight",
    version,
    about = "Turns a camera into every stream people point at it: MJPEG, snapshots, HLS, WebRTC, LiveKit, RTMP.",
    after_help = "Examples:\n  fanlight demo                         a moving picture in the browser, no camera needed\n  \
                  fanlight --config porch.toml          run with this configuration\n  \
                  fanlight config --example             a commented configuration with every key\n  \
                  fanlight probe rtsp://10.0.0.7/live   what a camera offers, and a configuration for it\n  \
                  fanlight doctor                       what this machine lacks, and how to mend it\n\n\
                  Without a configuration: the first camera found. MOCK_CAMERA=true gives a test picture."
)]
struct Cli {
    /// Configuration file [default: /etc/fanlight/fanlight.toml when it exists]
    #[arg(long, short, global = true, value_name = "FILE", env = "FANLIGHT_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service (what happens without a command)
    Run,
    /// Show a test camera in the browser; reads no configuration
    Demo(demo::Args),
    /// Look at this machine: what is there, what is missing, and the command that mends it
    Doctor(doctor::DoctorArgs),
    /// Ask a camera what it offers, and print a configuration for it
    Probe(probe::ProbeArgs),
    /// Ask a running service whether it is well; for containers and scripts
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print, check and explain the configuration
    Config(ConfigArgs),
    /// LiveKit: make tokens and ingresses, and check the server that is configured
    Livekit(livekit::Args),
    /// Make, list and revoke API keys
    Keys(keys::Args),
    /// Be a printer, for trying out and for tests
    Simulate(simulate::Args),
    /// List and show what pipelines are built from
    Pipeline(pipeline::Args),
    /// Print shell completions
    Completions { shell: clap_complete::Shell },
}

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
struct ConfigArgs {
    /// Print a commented example with every key
    #[arg(long)]
    example: bool,
    #[command(subcommand)]
    command: Option<ConfigCommand>,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check a file by itself: every mistake with its line and what is allowed
    Check { file: PathBuf },
    /// Print the configuration in force and where each value came from; secrets as ***
    Show,
}

/// Runs the command line; the exit code of the process.
pub fn main() -> u8 {
    crate::tls::install();
    let cli = Cli::parse();
    let file = cli.config.as_deref();
    let environment = configuration::process_environment;
    let mut out = std::io::stdout().lock();
    let done = match cli.command.unwrap_or(Command::Run) {
        Command::Run => {
            drop(out);
            run::run(file)
        }
        Command::Demo(args) => {
            drop(out);
            demo::run(&args)
        }
        Command::Simulate(args) => {
            drop(out);
            simulate::run(&args)
        }
        Command::Doctor(args) => doctor::run(&configuration::load(file, environment), args.json, &mut out),
        Command::Probe(args) => probe::run(&args, &mut out),
        Command::Healthcheck(args) => healthcheck::run(&args, file, environment, &mut out),
        Command::Config(ConfigArgs { command: None, .. }) => config::example(&mut out),
        Command::Config(ConfigArgs { command: Some(ConfigCommand::Check { file }), .. }) => {
            config::check(&file, &mut out)
        }
        Command::Config(ConfigArgs { command: Some(ConfigCommand::Show), .. }) => {
            config::show(file, environment, &mut out)
        }
        Command::Livekit(args) => livekit::run(&args, file, environment, &mut out),
        Command::Keys(args) => keys::run(&args, file, environment, &mut out),
        Command::Pipeline(args) => pipeline::run(&args, file, &mut out),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "fanlight", &mut script);
            out.write_all(&script).map(|()| 0).map_err(Into::into)
        }
    };
    match done {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => 0,
        Err(error) => {
            eprintln!("fanlight: {error:#}");
            1
        }
    }
}

/// `fanlight … | head`: the reader has had enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
