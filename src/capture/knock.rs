//! The cheap look whether a source's peer is there: one TCP connect, an RTSP OPTIONS, or a path.
//!
//! An RTSP camera is asked a question, because a frozen one still accepts connections: the kernel
//! does that for it. Only the supervisor knocks, once a second while it waits.

use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

use crate::config::model::Source;

/// How to knock on one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Knock {
    /// Something answers RTSP at this address.
    Rtsp { host: String, port: u16, url: String },
    /// Something accepts connections at this address.
    Tcp { host: String, port: u16 },
    /// A file or device node exists.
    Path(PathBuf),
}

impl Knock {
    /// The knock that suits `source`; `None` when there is nothing to knock on.
    pub fn for_source(source: &Source) -> Option<Self> {
        match source {
            Source::Rtsp(rtsp) => Self::for_url(&rtsp.url),
            Source::Http(http) => Self::for_url(&http.url),
            Source::V4l2(v4l2) => Some(Knock::Path(v4l2.device.clone())),
            Source::File(file) => Some(Knock::Path(file.path.clone())),
            Source::Auto {} | Source::Test {} | Source::Libcamera(_) => None,
        }
    }

    fn for_url(url: &str) -> Option<Self> {
        let mut url = Url::parse(url).ok()?;
        // The knock is made without credentials.
        let _ = (url.set_username(""), url.set_password(None));
        let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        let default = match url.scheme() {
            "rtsp" => 554,
            "rtsps" => 322,
            "http" => 80,
            _ => 443,
        };
        let port = url.port().unwrap_or(default);
        Some(match url.scheme() {
            "rtsp" => Knock::Rtsp { host, port, url: url.into() },
            _ => Knock::Tcp { host, port },
        })
    }

    /// Whether the peer is there. The caller bounds it in time.
    pub async fn present(&self) -> bool {
        match self {
            Knock::Path(path) => exists(path).await,
            Knock::Tcp { host, port } => TcpStream::connect((host.as_str(), *port)).await.is_ok(),
            Knock::Rtsp { host, port, url } => options(host, *port, url).await.unwrap_or(false),
        }
    }
}

async fn exists(path: &Path) -> bool {
    tokio::fs::try_exists(path).await.unwrap_or(false)
}

/// Asks for the server's methods (RFC 2326, section 10.1). Any RTSP answer will do, 401 included.
async fn options(host: &str, port: u16, url: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect((host, port)).await?;
    let request = format!("OPTIONS {url} RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: fanlight\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    Ok(&answer == b"RTSP/")
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn credentials_never_go_into_a_knock() {
        let knock = Knock::for_url("rtsp://admin:hunter2@10.0.0.7/cam?x=1");
        let expected =
            Knock::Rtsp { host: "10.0.0.7".into(), port: 554, url: "rtsp://10.0.0.7/cam?x=1".into() };
        assert_eq!(knock, Some(expected));
        assert_eq!(Knock::for_url("https://cam/x"), Some(Knock::Tcp { host: "cam".into(), port: 443 }));
        assert_eq!(Knock::for_url("http://[::1]:81/"), Some(Knock::Tcp { host: "::1".into(), port: 81 }));
    }

    #[tokio::test]
    async fn a_camera_that_accepts_but_does_not_answer_is_absent() {
        let frozen = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("rtsp://{}/cam", frozen.local_addr().unwrap());
        let knock = Knock::for_url(&url).unwrap();
        let patience = std::time::Duration::from_millis(100);
        let answer = tokio::time::timeout(patience, knock.present()).await;
        assert!(!answer.unwrap_or(false));
    }

    #[tokio::test]
    async fn a_camera_that_answers_anything_in_rtsp_is_present() {
        let camera = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("rtsp://{}/cam", camera.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = camera.accept().await.unwrap();
            let mut request = [0; 8];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(b"RTSP/1.0 401 Unauthorized\r\n\r\n").await.unwrap();
            request
        });
        assert!(Knock::for_url(&url).unwrap().present().await);
        assert_eq!(&server.await.unwrap(), b"OPTIONS ");
    }

    #[tokio::test]
    async fn a_path_is_present_when_it_exists() {
        assert!(Knock::Path("/dev/null".into()).present().await);
        assert!(!Knock::Path("/nonexistent/video0".into()).present().await);
    }
}
