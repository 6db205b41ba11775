//! `fanlight keys`: makes, lists and revokes API keys in the database of the service, which need not run
//! and need not be told. A key is printed once; what is kept is its hash.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;

use crate::access::keys::NewKey;
use crate::config;
use crate::config::model::Role;
use crate::storage::{self, ApiKey, Database};
use crate::telemetry::timestamp;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key and print it, once: only its hash is kept
    Create {
        /// What it is for, to find it again in the list
        #[arg(long)]
        name: String,
        #[arg(long, value_enum, default_value = "viewer")]
        role: KeyRole,
        /// How long it is good: 12h, 90d [default: until it is revoked]
        #[arg(long, value_name = "TIME", value_parser = super::livekit::duration)]
        ttl: Option<Duration>,
    },
    /// List the keys: id, role, name, when made, until when
    List,
    /// Revoke a key by its id; whoever uses it is out within seconds
    Revoke { id: String },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum KeyRole {
    Viewer,
    Operator,
    Admin,
}

impl From<KeyRole> for Role {
    fn from(role: KeyRole) -> Self {
        match role {
            KeyRole::Viewer => Role::Viewer,
            KeyRole::Operator => Role::Operator,
            KeyRole::Admin => Role::Admin,
        }
    }
}

const WHERE: &str =
    "API keys are in the service's database; run this as the service's user, with its configuration";

pub fn run(
    args: &Args,
    file: Option<&Path>,
    environment: fn(&str) -> Option<String>,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let loaded = config::load(file, environment)?;
    let places = storage::places(loaded.config.storage.directory.as_deref(), environment);
    // The service's own place or none: a key in another database would be known to nobody.
    let place = places.first().cloned().unwrap_or_default();
    let directory = storage::first_writable(std::slice::from_ref(&place)).context(WHERE)?;
    let file = loaded.config.storage.database.unwrap_or_else(|| directory.join(storage::FILE));
    let user = rustix::process::geteuid().as_raw();
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&directory)?);
    anyhow::ensure!(
        user == owner,
        "{} belongs to another user, and so must its database: run this as that one",
        directory.display()
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let database = Database::open_file(file).await.context(WHERE)?;
        let done = keys(&args.command, &database, out).await;
        database.close().await;
        done
    })
}

async fn keys(command: &Command, database: &Database, out: &mut dyn Write) -> anyhow::Result<u8> {
    match command {
        Command::Create { name, role, ttl } => {
            let new = NewKey::make();
            let created = SystemTime::now();
            let kept = ApiKey {
                id: new.id,
                name: name.trim().chars().filter(|c| !c.is_control()).take(100).collect(),
                role: (*role).into(),
                hash: new.hash,
                created,
                expires: ttl.map(|ttl| created + ttl),
            };
            database.add_key(&kept).await?;
            writeln!(out, "{}", new.key.expose())?;
            eprintln!("this is the only time that the key is shown; its id is {}", kept.id);
        }
        Command::List => {
            for ApiKey { id, name, role, created, expires, .. } in database.keys().await? {
                let until = expires.map_or_else(|| "revoked".to_owned(), timestamp);
                writeln!(
                    out,
                    "{id}  {:<8}  made {}  until {until}  {name}",
                    role.name(),
                    timestamp(created)
                )?;
            }
        }
        Command::Revoke { id } => {
            anyhow::ensure!(
                database.remove_key(id).await?,
                "there is no key {id:?}; `fanlight keys list` shows them"
            );
            writeln!(out, "{id} is revoked")?;
        }
    }
    Ok(0)
}
