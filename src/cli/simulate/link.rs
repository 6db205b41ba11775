//! The simulated printer's own connection to its broker: hears requests, publishes reports.
//!
//! A task turns rumqttc's loop and connects again for as long as the handle is kept, for the broker comes and
//! goes by order. What is said while there is no connection is lost, as it would be on the machine.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, QoS, Transport};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::broker::{MACHINE, socket};

/// The longest message, either way.
const LONGEST: usize = 1024 * 1024;
/// Requests that wait to be heard, and reports to be sent.
const WAITING: usize = 32;
/// After a connection that failed.
const AGAIN: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub struct Link {
    client: AsyncClient,
    connected: Arc<AtomicBool>,
    report: String,
    _turning: AbortOnDropHandle<()>,
}

impl Link {
    /// Begins; requests come out of the receiver.
    pub fn start(folder: &Path, serial: &str, password: &str) -> (Self, mpsc::Receiver<Bytes>) {
        // For this transport the host is the socket's path.
        let mut options = MqttOptions::new(serial, socket(folder).to_string_lossy(), 1883);
        options.set_transport(Transport::Unix);
        options.set_credentials(MACHINE, password);
        options.set_max_packet_size(LONGEST, LONGEST);
        let (client, turned) = AsyncClient::new(options, WAITING);
        let (hear, heard) = mpsc::channel(WAITING);
        let connected = Arc::new(AtomicBool::new(false));
        let request = format!("device/{serial}/request");
        let turning = turn(turned, client.clone(), request, hear, Arc::clone(&connected));
        let turning = AbortOnDropHandle::new(tokio::spawn(turning));
        (Self { client, connected, report: format!("device/{serial}/report"), _turning: turning }, heard)
    }

    pub fn connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Publishes a report, if somebody can hear it.
    pub fn publish(&self, report: &Value) {
        if self.connected() {
            // A full queue loses it, as no connection does.
            let _ = self.client.try_publish(&self.report, QoS::AtMostOnce, false, report.to_string());
        }
    }
}

async fn turn(
    mut turned: EventLoop,
    client: AsyncClient,
    request: String,
    hear: mpsc::Sender<Bytes>,
    connected: Arc<AtomicBool>,
) {
    loop {
        match turned.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                let _ = client.try_subscribe(&request, QoS::AtMostOnce);
            }
            // From here on requests are heard.
            Ok(Event::Incoming(Incoming::SubAck(_))) => connected.store(true, Ordering::Relaxed),
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                // Who asks more than is heard is not heard.
                let _ = hear.try_send(publish.payload);
            }
            Ok(_) => {}
            Err(_) => {
                connected.store(false, Ordering::Relaxed);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}
