//! The floor: a process that reads the camera and writes each picture to every client with one blocking
//! `write`, and does nothing else. It is this same executable, started with [`FLAG`] and the camera's port.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::service::STARTS;
use crate::support::{MjpegStream, Process};

pub const FLAG: &str = "--bare-writes";
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\
                    Connection: close\r\n\r\n--frame\r\n";

/// Starts it; the process and its port.
pub fn start(source: u16) -> (Process, u16) {
    let own = std::env::current_exe().expect("the bench's own path");
    let process = Process::spawn("bare writes", Command::new(own).args([FLAG, &source.to_string()]));
    let port = process.wait_line("listens", 0, STARTS, |line| line.strip_prefix("listening ")?.parse().ok());
    (process, port)
}

pub fn main(source: u16) {
    let clients: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("listening {}", listener.local_addr().expect("an address").port());
    std::thread::spawn({
        let clients = Arc::clone(&clients);
        move || {
            for mut client in listener.incoming().flatten() {
                let mut request = [0; 4096];
                let greeted = client.set_nodelay(true).is_ok()
                    && client.read(&mut request).is_ok()
                    && client.write_all(HEAD.as_bytes()).is_ok();
                if greeted {
                    clients.lock().expect("clients").push(client);
                }
            }
        }
    });
    let mut camera = MjpegStream::open(source, "/stream").expect("the camera answers");
    while let Ok(Some(part)) = camera.next_within(Duration::from_secs(5)) {
        let head = format!("Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", part.jpeg.len());
        let whole = [head.as_bytes(), &part.jpeg, b"\r\n--frame\r\n"].concat();
        clients.lock().expect("clients").retain_mut(|client| client.write_all(&whole).is_ok());
    }
}
