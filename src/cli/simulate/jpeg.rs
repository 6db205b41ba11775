//! The camera of an A1 or P1 as a server: JPEGs over TLS on port 6000.
//!
//! A client says who it is in 80 bytes and is then sent every picture, newest first, behind 16 bytes of
//! length. A wrong code gets what the machines give: the end of the connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use subtle::ConstantTimeEq as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::broker::USER;
use crate::capture::Capture;

/// The first message of a client.
const HELLO: usize = 80;
/// A client that says nothing for this long is gone; so is one that takes no picture.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pictures at once and no more, as the machines.
const CLIENTS: usize = 4;
/// Pictures in a second at most.
const RATE: Duration = Duration::from_millis(66);

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, tls: TlsAcceptor, access_code: String, pictures: Capture) {
    let access_code: Arc<str> = access_code.into();
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = clients.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if clients.len() < CLIENTS => {
                    let (tls, code, pictures) = (tls.clone(), Arc::clone(&access_code), pictures.clone());
                    // However it ends, the client sees it.
                    clients.spawn(async move { converse(stream, &tls, &code, &pictures).await });
                }
                // One too many is closed.
                Ok(_) => {}
                Err(_) => tokio::time::sleep(PATIENCE / 100).await,
            }
        }
    }
}

async fn converse(stream: TcpStream, tls: &TlsAcceptor, code: &str, pictures: &Capture) -> io::Result<()> {
    let mut stream = within(tls.accept(stream)).await?;
    let mut hello = [0; HELLO];
    within(stream.read_exact(&mut hello)).await?;
    if !knows(&hello, code) {
        return within(stream.shutdown()).await;
    }
    let _wanted = pictures.jpeg().demand();
    let mut latest = pictures.jpeg().latest();
    latest.mark_changed();
    while latest.changed().await.is_ok() {
        let picture = latest.borrow_and_update().as_ref().map(|unit| unit.data.clone());
        let Some(picture) = picture else { continue };
        within(stream.write_all(&header(picture.len()))).await?;
        within(stream.write_all(&picture)).await?;
        within(stream.flush()).await?;
        tokio::time::sleep(RATE).await;
    }
    Ok(())
}

async fn within<T>(doing: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(PATIENCE, doing).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Whether a client's first message has the right user and code.
fn knows(hello: &[u8; HELLO], code: &str) -> bool {
    let mut right = [0; HELLO];
    right[..4].copy_from_slice(&0x40_u32.to_le_bytes());
    right[4..8].copy_from_slice(&0x3000_u32.to_le_bytes());
    for (at, text) in [(16, USER), (48, code)] {
        let Some(place) = right[at..].get_mut(..text.len()).filter(|_| text.len() <= 32) else {
            return false;
        };
        place.copy_from_slice(text.as_bytes());
    }
    bool::from(right.ct_eq(hello))
}

fn header(length: usize) -> [u8; 16] {
    let mut header = [0; 16];
    // The machines' pictures, and ours, are far smaller than four gigabytes.
    header[..4].copy_from_slice(&(length as u32).to_le_bytes());
    header[8] = 1;
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(user: &str, code: &str) -> [u8; HELLO] {
        let mut hello = [0; HELLO];
        hello[0] = 0x40;
        hello[5] = 0x30;
        hello[16..16 + user.len()].copy_from_slice(user.as_bytes());
        hello[48..48 + code.len()].copy_from_slice(code.as_bytes());
        hello
    }

    #[test]
    fn only_the_right_user_and_code_come_in() {
        assert!(knows(&hello("bblp", "12345678"), "12345678"));
        for (user, code) in [("bblp", "12345679"), ("bblp", ""), ("admin", "12345678"), ("bblp", "123456781")]
        {
            assert!(!knows(&hello(user, code), "12345678"), "{user} {code}");
        }
        assert!(!knows(&[0; HELLO], "12345678"));
        assert!(!knows(&hello("bblp", "x"), &"x".repeat(33)));
    }

    #[test]
    fn the_header_is_the_length_and_a_one() {
        assert_eq!(header(0x0001_0203), [3, 2, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    }
}
