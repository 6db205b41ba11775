use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::probe::State;
use super::registry::file::FileRegistry;
use super::*;

/// A node that answers as one does; `None`: it takes connections and says nothing.
async fn node_server(ready: Option<bool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some(ready) = ready else {
                held.push(stream);
                continue;
            };
            tokio::spawn(async move {
                let mut head = vec![0; 2048];
                let count = stream.read(&mut head).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..count]).into_owned();
                let (status, body) = match head.split(' ').nth(1) {
                    Some("/ready") if !ready => ("503 Service Unavailable", r#"{"reason":"stale"}"#),
                    Some("/metrics") => ("200 OK", r#"{"current_fps":25,"capabilities":["stream","hls"]}"#),
                    Some("/api/actions/restart") => ("200 OK", r#"{"done":true}"#),
                    Some("/api/actions/identify") => ("401 Unauthorized", "{}"),
                    _ => ("200 OK", "{}"),
                };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}

fn sent(id: &str, base_url: &str) -> Map<String, Value> {
    let node = json!({
        "id": id, "name": id, "base_url": base_url, "auth": { "type": "none" }, "labels": {},
        "last_seen": "2020-01-01T00:00:00Z", "capabilities": [], "transport": "http",
    });
    node.as_object().unwrap().clone()
}

async fn fleet(directory: &std::path::Path, within: Duration) -> Fleet {
    crate::tls::install();
    let tls = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let resolve: client::Resolve = Arc::new(|host, port| {
        Box::pin(async move {
            Ok(vec![SocketAddr::new(host.parse().map_err(|_| "no such host".to_owned())?, port)])
        })
    });
    let registry =
        FileRegistry::open(&directory.join("nodes.json")).map(|file| Box::new(file) as Box<dyn Registry>);
    Fleet::open(registry, Client::new(resolve, Arc::new(tls)), within, Duration::from_secs(5)).await
}

#[tokio::test]
async fn nodes_are_made_changed_and_deleted_and_a_restart_knows_them() {
    let directory = tempfile::tempdir().unwrap();
    let house = fleet(directory.path(), Duration::from_secs(1)).await;
    house.create(&sent("a", "http://10.0.0.1")).await.unwrap();
    house.create(&sent("b", "http://10.0.0.2")).await.unwrap();
    let twice = house.create(&sent("a", "http://10.0.0.3")).await.unwrap_err().to_string();
    assert!(twice.contains("is another node's"), "{twice}");
    let part = json!({ "name": "Garage" });
    assert_eq!(house.update("b", part.as_object().unwrap()).await.unwrap().name, "Garage");
    house.delete("a").await.unwrap();
    assert!(matches!(house.delete("a").await, Err(FleetError::NotFound(_))));
    drop(house);
    let house = fleet(directory.path(), Duration::from_secs(1)).await;
    let nodes = house.nodes().await.unwrap();
    assert_eq!(nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["Garage"]);
}

#[tokio::test]
async fn a_registry_that_cannot_be_had_is_told_with_every_question() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("nodes.json"), "{").unwrap();
    let house = fleet(directory.path(), Duration::from_secs(1)).await;
    for words in [house.nodes().await.unwrap_err(), house.create(&sent("a", "http://h")).await.unwrap_err()] {
        assert!(words.to_string().contains("damaged"), "{words}");
    }
    assert_eq!(std::fs::read_to_string(directory.path().join("nodes.json")).unwrap(), "{");
}

#[tokio::test]
async fn dead_nodes_cost_one_limit_together_and_the_others_are_told_as_they_are() {
    const NODES: usize = 200;
    let directory = tempfile::tempdir().unwrap();
    let within = Duration::from_secs(4);
    let house = fleet(directory.path(), within).await;
    let (good, stale, dead) =
        (node_server(Some(true)).await, node_server(Some(false)).await, node_server(None).await);
    let address = |number: usize| match number % 10 {
        0 => dead,
        1 => stale,
        _ => good,
    };
    for number in 0..NODES {
        house.create(&sent(&format!("n{number}"), &format!("http://{}", address(number)))).await.unwrap();
    }
    let began = std::time::Instant::now();
    let all = house.overview().await.unwrap();
    // Twice the limit would mean that they were waited for one behind the other.
    assert!(began.elapsed() < within * 2, "{:?}", began.elapsed());
    for (number, (node, status)) in all.iter().enumerate() {
        let expected = match number % 10 {
            0 => State::Unavailable,
            1 => State::NotReady,
            _ => State::Ok,
        };
        assert_eq!((node.id.as_str(), status.status), (format!("n{number}").as_str(), expected));
    }
    let again = std::time::Instant::now();
    house.overview().await.unwrap();
    assert!(again.elapsed() < within, "what was found lately is told at once");
}

#[tokio::test]
async fn a_node_that_answers_is_seen_and_says_what_it_can_do() {
    let directory = tempfile::tempdir().unwrap();
    let house = fleet(directory.path(), Duration::from_secs(5)).await;
    house.create(&sent("a", &format!("http://{}", node_server(Some(true)).await))).await.unwrap();
    let mut changes = house.changes();
    let watching = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(
        house.clone().watch(Duration::from_millis(50)),
    ));
    tokio::time::timeout(Duration::from_secs(20), changes.changed()).await.unwrap().unwrap();
    let seen = async {
        loop {
            let node = house.node("a").await.unwrap();
            if !node.last_seen.starts_with("2020") {
                break node;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let node = tokio::time::timeout(Duration::from_secs(20), seen).await.unwrap();
    assert_eq!(node.capabilities, ["stream", "hls"]);
    drop(watching);
}

#[tokio::test]
async fn an_action_is_passed_on_if_the_node_may_be_asked_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let house = fleet(directory.path(), Duration::from_secs(5)).await;
    house.create(&sent("a", &format!("http://{}", node_server(Some(true)).await))).await.unwrap();
    let mut docker = sent("d", "http://10.0.0.1");
    docker.insert("transport".into(), json!("docker"));
    house.create(&docker).await.unwrap();
    let act =
        |id: &'static str, action: &'static str| house.act(id, action, Bytes::new(), Duration::from_secs(5));
    let answer = act("a", "restart").await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (200, &br#"{"done":true}"#[..]));
    assert!(matches!(act("a", "format_disk").await, Err(FleetError::NotAllowed { .. })));
    assert!(matches!(act("a", "identify").await, Err(FleetError::Unauthorized(_))));
    assert!(matches!(act("d", "restart").await, Err(FleetError::Unsupported { .. })));
    assert!(matches!(act("x", "restart").await, Err(FleetError::NotFound(_))));
    assert_eq!(house.status("d").await.unwrap().status, State::Unsupported);
}
