//! The cheap look whether a source's peer is there: one TCP connect, an RTSP OPTIONS, or a path.
//!
//! An RTSP camera is asked a question, because a frozen one still accepts connections: the kernel
//! does that for it. Only the supervisor knocks, once a second while it waits.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use url::Url;

use crate::config::model::Source;
use crate::reach::{self, Reach};

/// A peer that has not answered by then is absent. A little less than the time between two knocks, so that
/// each one is a fresh connection: a lost SYN is sent again by the kernel only after ever longer waits.
const ANSWER_LIMIT: Duration = Duration::from_millis(900);

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
            Source::BambuJpeg(bambu) => Some(Knock::Tcp { host: bambu.host.clone(), port: bambu.port }),
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
    async fn present(&self, reach: Option<&Reach>) -> bool {
        match self {
            Knock::Path(path) => tokio::fs::try_exists(path).await.unwrap_or(false),
            Knock::Tcp { host, port } | Knock::Rtsp { host, port, .. } => {
                let Ok(addresses) = lookup_host((host.as_str(), *port)).await else { return false };
                let mut addresses: Vec<SocketAddr> = addresses.collect();
                if let Some(reach) = reach {
                    let own = reach::own();
                    addresses.retain(|address| reach.permits(address.ip(), &own).is_ok());
                }
                let answered = async {
                    let stream = TcpStream::connect(addresses.as_slice()).await?;
                    match self {
                        Knock::Rtsp { url, .. } => options(stream, url).await,
                        _ => Ok(true),
                    }
                };
                tokio::time::timeout(ANSWER_LIMIT, answered).await.is_ok_and(|answer| answer.unwrap_or(false))
            }
        }
    }
}

/// Knocks one at a time. A look at a path or at a name may hang in the kernel or the resolver however
/// bounded the wait for it is: while one does, the peer counts as absent and no other begins.
#[derive(Debug)]
pub struct Knocker {
    knock: Arc<Knock>,
    /// Where it may go, of a camera that was added by API.
    reach: Option<Arc<Reach>>,
    looking: Arc<tokio::sync::Semaphore>,
}

impl Knocker {
    pub fn new(knock: Knock) -> Self {
        Self { knock: Arc::new(knock), reach: None, looking: Arc::new(tokio::sync::Semaphore::new(1)) }
    }

    /// Goes nowhere else, when it is given.
    pub fn within(self, reach: Option<Reach>) -> Self {
        Self { reach: reach.map(Arc::new), ..self }
    }

    /// Whether the peer is there. Dropping the future does not end a look that hangs; the next one waits
    /// for that.
    pub async fn present(&self) -> bool {
        let Ok(turn) = Arc::clone(&self.looking).try_acquire_owned() else { return false };
        let (knock, reach) = (Arc::clone(&self.knock), self.reach.clone());
        let look = tokio::spawn(async move {
            let present = knock.present(reach.as_deref()).await;
            drop(turn);
            present
        });
        look.await.unwrap_or(false)
    }
}

/// Whether something answers RTSP at this address.
pub async fn answers_rtsp(address: SocketAddr) -> bool {
    let asked = async { options(TcpStream::connect(address).await?, &format!("rtsp://{address}/")).await };
    tokio::time::timeout(ANSWER_LIMIT, asked).await.is_ok_and(|answer| answer.unwrap_or(false))
}

/// Asks for the server's methods (RFC 2326, section 10.1). Any RTSP answer will do, 401 included.
async fn options(mut stream: TcpStream, url: &str) -> std::io::Result<bool> {
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
        let answer = tokio::time::timeout(patience, knock.present(None)).await;
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
        assert!(
            !Knock::for_url(&url).unwrap().present(Some(&Reach::default())).await,
            "not where it may not go"
        );
        assert!(Knock::for_url(&url).unwrap().present(None).await);
        assert_eq!(&server.await.unwrap(), b"OPTIONS ");
    }

    #[tokio::test]
    async fn a_look_that_hangs_is_not_begun_again() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("rtsp://{}/cam", silent.local_addr().unwrap());
        let knocker = Knocker::new(Knock::for_url(&url).unwrap());
        let given_up = tokio::time::timeout(Duration::from_millis(50), knocker.present()).await;
        assert!(given_up.is_err(), "the first look waits for an answer");
        let at_once = tokio::time::timeout(Duration::from_millis(50), knocker.present()).await;
        assert_eq!(at_once, Ok(false), "the second one does not begin");
        let (first, _) = silent.accept().await.unwrap();
        drop(first);
        let answered = async {
            while knocker.looking.available_permits() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), answered).await.expect("its turn is given back");
    }

    #[tokio::test]
    async fn a_path_is_present_when_it_exists() {
        assert!(Knock::Path("/dev/null".into()).present(None).await);
        assert!(!Knock::Path("/nonexistent/video0".into()).present(None).await);
    }
}
