//! The camera of a simulated printer, in each of its moods: serving, closed, mute.
//!
//! RTSPS is the service's own server with `bblp` as its only user; JPEGs are [`jpeg`](super::jpeg). All
//! simulated printers show the same pictures, and nothing is encoded while nobody watches.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::broker::USER;
use super::certificate::Files;
use super::jpeg;
use super::models;
use super::orders::CameraIs;
use crate::access::{Access, Role};
use crate::capture::Capture;
use crate::config::Ha1;
use crate::config::model::{Config, RtspServer, User};
use crate::serve::rtsp::{self, Rtsp};

/// The path of the RTSPS stream, and so the id of the pictures.
pub const PATH: &str = "streaming/live/1";

/// What all cameras show.
pub type Pictures = watch::Receiver<Arc<[Capture]>>;

#[derive(Debug)]
pub enum Camera {
    Closed,
    Rtsps(Rtsp),
    Task { _task: AbortOnDropHandle<()> },
}

impl Camera {
    pub async fn open(
        is: CameraIs,
        kind: models::Camera,
        address: SocketAddr,
        access_code: &str,
        files: &Files,
        pictures: &Pictures,
    ) -> anyhow::Result<Self> {
        let task = |task| Self::Task { _task: AbortOnDropHandle::new(task) };
        let listen = || async {
            TcpListener::bind(address).await.with_context(|| format!("the camera cannot listen on {address}"))
        };
        Ok(match (is, kind) {
            (CameraIs::Closed, _) => Self::Closed,
            (CameraIs::Mute, _) => task(tokio::spawn(mute(listen().await?))),
            (CameraIs::Serving, models::Camera::Rtsps) => {
                Self::Rtsps(rtsps(address, access_code, files, pictures)?)
            }
            (CameraIs::Serving, models::Camera::Jpeg) => {
                let tls = rtsp::acceptor(&files.certificate, &files.key).map_err(anyhow::Error::msg)?;
                let shown = pictures.borrow().first().cloned().context("there are no pictures")?;
                task(tokio::spawn(jpeg::serve(listen().await?, tls, access_code.to_owned(), shown)))
            }
        })
    }

    /// Ends it; its port is free afterwards.
    pub async fn close(&mut self) {
        match std::mem::replace(self, Self::Closed) {
            Self::Closed => {}
            Self::Rtsps(rtsp) => rtsp.shutdown().await,
            Self::Task { _task: task } => {
                task.abort();
                // Its sockets are closed when it has ended.
                let _ = task.await;
            }
        }
    }
}

fn rtsps(address: SocketAddr, access_code: &str, files: &Files, pictures: &Pictures) -> anyhow::Result<Rtsp> {
    let settings = RtspServer {
        bind: Some(address.ip()),
        port: 0,
        tls_port: Some(address.port()),
        certificate: Some(files.certificate.clone()),
        key: Some(files.key.clone()),
        ..RtspServer::default()
    };
    let mut config = Config::default();
    config.access.users.push(User {
        name: USER.to_owned(),
        role: Role::Viewer,
        password_file: None,
        ha1_md5: None,
        ha1_sha256: None,
        ha1: Ha1::of(USER, access_code),
    });
    let access = Access::new(watch::Sender::new(Arc::new(config)).subscribe(), Err("there are none".into()));
    Ok(Rtsp::start(&settings, address.ip(), pictures.clone(), access)?)
}

/// Accepts and keeps, without a word.
async fn mute(listener: TcpListener) {
    let mut kept = std::collections::VecDeque::new();
    while let Ok((stream, _)) = listener.accept().await {
        kept.push_back(stream);
        if kept.len() > 64 {
            kept.pop_front();
        }
    }
}
