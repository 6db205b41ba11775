//! Asks a node over HTTP: one connection for each question, to an address that was looked at and to no other, no
//! redirect followed, the answer bounded in size and time. A user wrote the address down: it is nothing to trust.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::node::{Auth, Node};
use crate::tls::{self, Fingerprint};

/// Headers of an answer are no longer than this.
const LARGEST_HEAD: usize = 32 << 10;

/// Where a host is, as far as this service may go there. Given from outside, so that tests can lie.
pub type Resolve =
    Arc<dyn Fn(String, u16) -> BoxFuture<'static, Result<Vec<SocketAddr>, String>> + Send + Sync>;

/// Asks nodes. Cloning it clones references.
#[derive(Clone)]
pub struct Client {
    resolve: Resolve,
    tls: Arc<ClientConfig>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// A question.
#[derive(Clone, Debug)]
pub struct Question<'q> {
    pub method: Method,
    /// Put behind the node's address, with its query.
    pub path: &'q str,
    /// JSON.
    pub body: Option<Bytes>,
    pub headers: &'q [(HeaderName, HeaderValue)],
    /// For the whole answer; for [`Client::open`], for its head.
    pub within: Duration,
    /// Of the answer's body, in bytes.
    pub largest: usize,
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: Option<HeaderValue>,
    pub body: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("{0}")]
    Refused(String),
    #[error("no answer within {0:?}")]
    TooLong(Duration),
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("its answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("its answer is no HTTP: {0}")]
    Garbage(String),
}

/// An answer whose body comes in pieces. The connection ends when it is dropped.
#[derive(Debug)]
pub struct Open {
    pub response: Response<Incoming>,
    pub connection: AbortOnDropHandle<()>,
}

impl Client {
    /// `tls` says whose certificates are taken.
    pub fn new(resolve: Resolve, tls: Arc<ClientConfig>) -> Self {
        Self { resolve, tls }
    }

    /// Asks and waits for the whole answer.
    ///
    /// # Errors
    /// With words that name no secret.
    pub async fn ask(&self, node: &Node, question: &Question<'_>) -> Result<Answer, AskError> {
        let whole = async {
            let Open { response, connection } = self.connect(node, question).await?;
            let status = response.status().as_u16();
            let content_type = response.headers().get(CONTENT_TYPE).cloned();
            let body = Limited::new(response.into_body(), question.largest).collect().await;
            let body =
                body.map_err(|error| match error.downcast_ref::<http_body_util::LengthLimitError>() {
                    Some(_) => AskError::TooLarge(question.largest),
                    None => AskError::Garbage(error.to_string()),
                })?;
            drop(connection);
            Ok(Answer { status, content_type, body: body.to_bytes() })
        };
        let answered = tokio::time::timeout(question.within, whole).await;
        answered.unwrap_or(Err(AskError::TooLong(question.within)))
    }

    /// Asks and waits for the head of the answer: its body may never end.
    ///
    /// # Errors
    /// With words that name no secret.
    pub async fn open(&self, node: &Node, question: &Question<'_>) -> Result<Open, AskError> {
        let head = tokio::time::timeout(question.within, self.connect(node, question)).await;
        head.unwrap_or(Err(AskError::TooLong(question.within)))
    }

    /// Whose certificate is taken: the one that the node is known by, or what authorities vouch for.
    fn trust(&self, node: &Node) -> Result<Arc<ClientConfig>, AskError> {
        let Some(text) = &node.fingerprint else { return Ok(Arc::clone(&self.tls)) };
        let expected: Fingerprint = text
            .parse()
            .map_err(|_| AskError::Refused("its fingerprint is none of a certificate".to_owned()))?;
        let pinned = tls::pinned(Some(expected)).map_err(|error| AskError::Refused(error.to_string()))?;
        Ok(pinned.0)
    }

    async fn connect(&self, node: &Node, question: &Question<'_>) -> Result<Open, AskError> {
        let url = Url::parse(&format!("{}{}", node.base_url, question.path))
            .map_err(|error| AskError::Refused(format!("its address is no URL: {error}")))?;
        let refused = || AskError::Refused("its address has no host".to_owned());
        let host = url.host_str().ok_or_else(refused)?.trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().ok_or_else(refused)?;
        let addresses = (self.resolve)(host.clone(), port).await.map_err(AskError::Refused)?;
        let unreachable = |error: std::io::Error| AskError::Unreachable(error.to_string());
        let stream = TcpStream::connect(addresses.as_slice()).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let request = request(node, question, &url)?;
        if url.scheme() == "https" {
            let name = ServerName::try_from(host).map_err(|error| AskError::Refused(error.to_string()))?;
            let stream = TlsConnector::from(self.trust(node)?).connect(name, stream).await;
            return exchange(stream.map_err(unreachable)?, request).await;
        }
        exchange(stream, request).await
    }
}

fn request(node: &Node, question: &Question<'_>, url: &Url) -> Result<Request<Full<Bytes>>, AskError> {
    let garbage = |error: hyper::http::Error| AskError::Refused(error.to_string());
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let target: Uri =
        target.parse().map_err(|_| AskError::Refused("its path is no path of HTTP".to_owned()))?;
    let authority = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
        None => url.host_str().unwrap_or_default().to_owned(),
    };
    let mut request = Request::builder()
        .method(question.method.clone())
        .uri(target)
        .header(HOST, authority)
        .header(USER_AGENT, concat!("fanlight/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(question.body.clone().unwrap_or_default()))
        .map_err(garbage)?;
    let headers = request.headers_mut();
    for (name, value) in question.headers {
        headers.insert(name.clone(), value.clone());
    }
    if question.body.is_some() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
    if let Auth::Bearer { token } = &node.auth {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
            .map_err(|_| AskError::Refused("its token cannot be sent in a header".to_owned()))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(request)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Open, AskError> {
    let garbage = |error: hyper::Error| AskError::Garbage(error.to_string());
    let handshake = hyper::client::conn::http1::Builder::new()
        .max_buf_size(LARGEST_HEAD)
        .handshake(TokioIo::new(stream))
        .await;
    let (mut sender, connection) = handshake.map_err(garbage)?;
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        // How it ended is seen in the answer.
        let _ = connection.await;
    }));
    let response = sender.send_request(request).await.map_err(garbage)?;
    Ok(Open { response, connection })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn node(base_url: &str) -> Node {
        let node = json!({
            "id": "n", "name": "n", "base_url": base_url, "auth": { "type": "bearer", "token": "fl_secret" },
            "labels": {}, "last_seen": "2026-01-18T20:15:00Z", "capabilities": [], "transport": "http",
        });
        Node::new(node.as_object().unwrap()).unwrap()
    }

    /// Answers each connection with this; what was asked.
    async fn server(
        answer: &'static [u8],
        pause: Option<Duration>,
    ) -> (SocketAddr, tokio::sync::mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, hear) = tokio::sync::mpsc::channel(16);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut buffer = vec![0; 4096];
                let count = stream.read(&mut buffer).await.unwrap_or(0);
                let _ = heard.send(String::from_utf8_lossy(&buffer[..count]).into_owned()).await;
                match pause {
                    None => drop(stream.write_all(answer).await),
                    Some(pause) => {
                        for byte in answer {
                            tokio::time::sleep(pause).await;
                            if stream.write_all(&[*byte]).await.is_err() {
                                break;
                            }
                        }
                    }
                }
            }
        });
        (address, hear)
    }

    fn client(
        resolve: impl Fn(String, u16) -> Result<Vec<SocketAddr>, String> + Send + Sync + 'static,
    ) -> Client {
        crate::tls::install();
        let tls = ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        Client::new(
            Arc::new(move |host, port| Box::pin(std::future::ready(resolve(host, port)))),
            Arc::new(tls),
        )
    }

    fn anywhere() -> Client {
        client(|host, port| Ok(vec![SocketAddr::new(host.parse().unwrap(), port)]))
    }

    fn question(path: &str) -> Question<'_> {
        let within = Duration::from_secs(5);
        Question { method: Method::GET, path, body: None, headers: &[], within, largest: 100 }
    }

    #[tokio::test]
    async fn it_goes_to_the_address_that_was_looked_at_with_the_node_s_name_and_token() {
        let (address, mut hear) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", None).await;
        let client = client(move |host, port| {
            assert_eq!((host.as_str(), port), ("garage.example", 81));
            Ok(vec![address])
        });
        let answer =
            client.ask(&node("http://garage.example:81/base/"), &question("/health?x=1")).await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"{}"[..]));
        let heard = hear.recv().await.unwrap().to_ascii_lowercase();
        assert!(heard.starts_with("get /base/health?x=1 http/1.1\r\n"), "{heard}");
        assert!(heard.contains("host: garage.example:81\r\n"), "{heard}");
        assert!(heard.contains("authorization: bearer fl_secret\r\n"), "{heard}");
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_nobody_follows_it() {
        let answer = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n";
        let (address, mut hear) = server(answer, None).await;
        let answer = anywhere().ask(&node(&format!("http://{address}")), &question("/")).await.unwrap();
        assert_eq!(answer.status, 302);
        hear.recv().await.unwrap();
        assert!(hear.try_recv().is_err(), "asked once");
    }

    #[tokio::test]
    async fn what_is_too_large_too_slow_or_no_http_is_given_up() {
        let long = b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n0123456789012345678901234567890123456789\
                     0123456789012345678901234567890123456789012345678901234567890123456789";
        type Expected = fn(&AskError) -> bool;
        let table: [(&[u8], Option<Duration>, Expected); 3] = [
            (long, None, |error| *error == AskError::TooLarge(100)),
            (long, Some(Duration::from_millis(50)), |error| matches!(error, AskError::TooLong(_))),
            (b"220 ready\r\n\r\n", None, |error| matches!(error, AskError::Garbage(_))),
        ];
        for (answer, pause, expected) in table {
            let (address, _hear) = server(answer, pause).await;
            let within = if pause.is_some() { Duration::from_millis(300) } else { Duration::from_secs(5) };
            let question = Question { within, ..question("/") };
            let error = anywhere().ask(&node(&format!("http://{address}")), &question).await.unwrap_err();
            assert!(expected(&error), "{error:?}");
        }
    }

    /// Serves one certificate that no authority has signed.
    async fn https() -> SocketAddr {
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
        use rustls::sign::{CertifiedKey, SingleCertAndKey};
        let key = include_bytes!("../../tests/fixtures/printers/v1-key.der").to_vec();
        let key = rustls::crypto::ring::sign::any_supported_type(&PrivateKeyDer::Pkcs8(
            PrivatePkcs8KeyDer::from(key),
        ));
        let certified = CertifiedKey::new(vec![CertificateDer::from(CERTIFICATE)], key.unwrap());
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _ = stream.read(&mut [0; 2048]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
                let _ = stream.flush().await;
            }
        });
        address
    }

    const CERTIFICATE: &[u8] = include_bytes!("../../tests/fixtures/printers/v1.der");

    #[tokio::test]
    async fn a_node_by_https_is_known_by_its_certificate_or_by_an_authority_and_no_other_is_taken() {
        let client = anywhere();
        let address = https().await;
        let mut node = node(&format!("https://{address}"));
        let unknown = client.ask(&node, &question("/")).await.unwrap_err();
        assert!(matches!(unknown, AskError::Unreachable(_)), "{unknown:?}");
        node.fingerprint = Some(Fingerprint::of(CERTIFICATE).to_string());
        assert_eq!(client.ask(&node, &question("/")).await.unwrap().status, 200);
        node.fingerprint = Some("ab".repeat(32));
        let other = client.ask(&node, &question("/")).await.unwrap_err();
        assert!(matches!(other, AskError::Unreachable(_)), "{other:?}");
    }

    #[tokio::test]
    async fn an_address_that_is_not_permitted_is_never_connected_to() {
        let client = client(|_, _| Err("127.0.0.1 is loopback".into()));
        let error = client.ask(&node("http://hostile.example"), &question("/")).await.unwrap_err();
        assert_eq!(error, AskError::Refused("127.0.0.1 is loopback".into()));
    }
}
