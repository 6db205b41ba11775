//! JSON-RPC with 1,000 connections open: the round trip of a status call on one of them, and how far apart
//! a notification reaches the first and the others of all of them. Clients and service share the machine.

use std::time::{Duration, Instant};

use futures_util::stream::SplitStream;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::meter;
use crate::support::service::STARTS;
use crate::support::{Fanlight, percentile, request};
use crate::verdict::Verdicts;

const CLIENTS: usize = 1000;
const CALLS: usize = 5000;
const RESTARTS: usize = 10;
/// For a restart and its notifications to be over.
const SETTLE: Duration = Duration::from_secs(2);

type Socket = WebSocketStream<TcpStream>;

pub fn run(verdicts: &mut Verdicts) {
    let service = Fanlight::start(
        "[rpc]\ncalls_per_second = 100000\n[[camera]]\nid = \"cam\"\nsource = { type = \"test\" }\n",
    );
    service.wait_state("cam", "live", STARTS);
    let before = meter::resident_kb(service.process().pid());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = connect(service.port()).await;
            call(&mut client, "subscribe_events", json!([["camera_status_update"]])).await;
            clients.push(client);
        }
        let each = (meter::resident_kb(service.process().pid()) - before) as f64 / CLIENTS as f64;
        let mut one = connect(service.port()).await;
        let mut times = Vec::new();
        for _ in 0..CALLS {
            let began = Instant::now();
            call(&mut one, "get_camera_status", json!(["cam"])).await;
            times.push(began.elapsed());
        }
        let (p50, p99) = (percentile(&times, 50.0), percentile(&times, 99.0));
        println!("  status call with {CLIENTS} connections: p50 {p50:?}, p99 {p99:?}; {each:.1} kB each");
        verdicts.at_most("rpc: status call, p99", p99.as_secs_f64() * 1000.0, 1.0, "ms");

        let readers: Vec<_> = clients.into_iter().map(|client| tokio::spawn(arrivals(client.split().1))).collect();
        for _ in 0..RESTARTS {
            let port = service.port();
            let asked = move || request(port, "POST", "/api/cameras/cam/restart", &[], b"");
            tokio::task::spawn_blocking(asked).await.expect("joined").expect("a restart");
            tokio::time::sleep(SETTLE).await;
        }
        let mut lists = Vec::new();
        let all = tokio::task::spawn_blocking(move || drop(service));
        for reader in readers {
            lists.push(reader.await.expect("arrivals"));
        }
        all.await.expect("the service ends");
        let mut late = Vec::new();
        let count = lists.iter().map(Vec::len).min().unwrap_or(0);
        assert!(count >= RESTARTS, "{count} notifications");
        for place in 0..count {
            let first = lists.iter().map(|list| list[place]).min().expect("clients");
            late.extend(lists.iter().map(|list| list[place] - first));
        }
        let (p50, p99) = (percentile(&late, 50.0), percentile(&late, 99.0));
        println!("  {count} notifications to {CLIENTS} clients, after the first client has it: p50 {p50:?}, p99 {p99:?}");
        verdicts.at_most("rpc: fan-out, p99 after the first client", p99.as_secs_f64() * 1000.0, 20.0, "ms");
    });
}

async fn connect(port: u16) -> Socket {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    tokio_tungstenite::client_async(format!("ws://127.0.0.1:{port}/ws"), stream).await.expect("a WebSocket").0
}

async fn call(client: &mut Socket, method: &str, params: Value) {
    let call = json!({ "jsonrpc": "2.0", "method": method, "params": params, "id": 1 });
    client.send(Message::text(call.to_string())).await.expect("sent");
    while let Some(Ok(message)) = client.next().await {
        if let Message::Text(text) = message
            && text.contains("\"id\":1")
        {
            assert!(text.contains("\"result\""), "{text}");
            return;
        }
    }
    panic!("no answer to {method}");
}

/// When each notification came, until the end.
async fn arrivals(mut stream: SplitStream<Socket>) -> Vec<Instant> {
    let mut times = Vec::new();
    while let Some(Ok(message)) = stream.next().await {
        if message.is_text() {
            times.push(Instant::now());
        }
    }
    times
}
