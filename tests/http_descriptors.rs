//! Out of file descriptors: the accept loop neither spins nor ends. In a process of its own, because
//! the limit is the process's.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanlight::api::http::AppState;
use fanlight::api::http::server::Server;
use fanlight::cameras::Cameras;
use fanlight::config::Config;
use fanlight::serve::hls::Hls;
use fanlight::serve::whep::Whep;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Clock ticks (10 ms) that this process has computed for: fields 14 and 15 of proc_pid_stat(5).
fn ticks(stat: &File) -> u64 {
    let mut text = [0; 1024];
    let length = stat.read_at(&mut text, 0).unwrap();
    let text = std::str::from_utf8(&text[..length]).unwrap();
    let after_name = text.rsplit_once(')').unwrap().1;
    after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

#[tokio::test]
async fn out_of_file_descriptors_the_accept_loop_waits_and_goes_on_when_some_are_free() {
    let stat = File::open("/proc/self/stat").unwrap();
    let mut config = Config::default();
    config.server.port = 0;
    let server = Server::bind(&config.server).unwrap();
    let address = server.address();
    let config = watch::Sender::new(Arc::new(config));
    let stop = CancellationToken::new();
    let hls = watch::Sender::new(Hls::new(config.borrow().hls.clone()));
    let free = fanlight::config::model::Webrtc { port: 0, ..Default::default() };
    let whep = Whep::start(&free, address.ip()).unwrap();
    let state =
        AppState::new(Cameras::new(Vec::new()), config.subscribe(), hls.subscribe(), whep, stop.clone());
    let running = tokio::spawn(server.run(state));

    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..limit }).unwrap();
    let mut clients = Vec::new();
    let refused = loop {
        match TcpStream::connect(address).await {
            Ok(client) => clients.push(client),
            Err(error) => break error,
        }
        assert!(clients.len() < 64);
    };
    assert_eq!(refused.raw_os_error(), Some(rustix::io::Errno::MFILE.raw_os_error()));

    // Connections wait to be accepted, and none can be.
    let (before, began) = (ticks(&stat), Instant::now());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let used = ticks(&stat) - before;
    assert!(used < 20, "{used} ticks of 10 ms in {:?}: it spins", began.elapsed());

    clients.clear();
    let asked = async {
        loop {
            // The descriptors of the clients that left come back one by one.
            let Ok(mut client) = TcpStream::connect(address).await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            client.write_all(b"GET /health HTTP/1.0\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            return answer;
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), asked).await.expect("it serves again");
    assert!(answer.starts_with(b"HTTP/1.0 200") || answer.starts_with(b"HTTP/1.1 200"));
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(3), running).await.expect("it ends").unwrap();
    setrlimit(Resource::Nofile, limit).unwrap();
}
