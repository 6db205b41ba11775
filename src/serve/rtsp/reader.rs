//! One connection's socket with what waits for it. The connection's task writes answers, the camera's fan
//! writes pictures; both through one lock, so that nothing lands inside anything else.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;

use super::queue::{Cut, Offered, Queue};
use super::stream::Picture;

/// Where a connection's bytes go: to the client, or to the task that encrypts them for it.
#[derive(Debug)]
pub enum Socket {
    Plain(TcpStream),
    Tls(UnixStream),
}

impl Socket {
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Socket::Plain(socket) => socket.readable().await,
            Socket::Tls(socket) => socket.readable().await,
        }
    }

    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Socket::Plain(socket) => socket.writable().await,
            Socket::Tls(socket) => socket.writable().await,
        }
    }

    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Plain(socket) => socket.try_read(buffer),
            Socket::Tls(socket) => socket.try_read(buffer),
        }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Plain(socket) => socket.try_write(bytes),
            Socket::Tls(socket) => socket.try_write(bytes),
        }
    }
}

#[derive(Debug)]
pub struct Reader {
    pub socket: Socket,
    queue: Mutex<Queue>,
    /// Wakes the connection's task: something waits for the socket, or the connection is over.
    wake: Notify,
    over: AtomicBool,
}

impl Reader {
    pub fn new(socket: Socket) -> Self {
        Self { socket, queue: Mutex::default(), wake: Notify::new(), over: AtomicBool::new(false) }
    }

    /// Takes a picture; how many whole pictures were lost with it. Wakes nobody while the reader keeps up.
    pub fn picture(&self, picture: &Picture, now: Instant) -> u64 {
        let write = |bytes: &[u8]| self.socket.try_write(bytes);
        match self.queue().picture(&picture.bytes, picture.keyframe, now, write) {
            Ok(Offered::Written | Offered::Skipped | Offered::Waits { first: false }) => 0,
            Ok(Offered::Waits { first: true }) => {
                self.wake.notify_one();
                0
            }
            Ok(Offered::Lost(count)) => count,
            Err(_) => {
                self.end();
                0
            }
        }
    }

    pub fn play(&self, answer: Bytes, group: Option<Bytes>, now: Instant) -> Result<(), Cut> {
        let mut queue = self.queue();
        queue.answer(answer, now)?;
        queue.play(group, now);
        Ok(())
    }

    pub fn stop(&self) {
        self.queue().stop();
    }

    /// Pictures that wait are not sent any more; it goes on at the next keyframe.
    pub fn retract(&self) {
        self.queue().retract();
    }

    /// Answers a request, at once if the socket takes it.
    pub fn answer(&self, bytes: Bytes, now: Instant) -> Result<(), Cut> {
        let mut queue = self.queue();
        queue.answer(bytes, now)?;
        queue.drain(now, |bytes| self.socket.try_write(bytes))
    }

    pub fn drain(&self, now: Instant) -> Result<(), Cut> {
        self.queue().drain(now, |bytes| self.socket.try_write(bytes))
    }

    /// The connection is to be closed by its task.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Whether something waits, and when this reader is cut if it takes nothing until then.
    pub fn waits(&self) -> (bool, Option<Instant>) {
        let queue = self.queue();
        (!queue.is_empty(), queue.deadline())
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Plain data, whole after every statement.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
