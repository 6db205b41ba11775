//! One attempt of a link: connects, and carries messages between connection and reducer until either has
//! had enough.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::mqttbytes::v4::Packet;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::command::CommandError;
use super::link::{Order, Shared};
use super::mqtt::{Broken, Connection};
use super::reducer::{Action, Event};
use super::report::MESSAGE_LIMIT;
use crate::supervision::Reports;

/// Commands that wait for the session to look at them.
const ORDERS: usize = 8;
/// No printer says more in a second. Whoever does would keep this machine busy reading.
const PACKETS: u32 = 1000;
const BYTES: usize = 4 * MESSAGE_LIMIT;

type Answers = HashMap<u64, oneshot::Sender<Result<(), CommandError>>>;

/// Where a connection's requests begin to be numbered: far from where other programs do, and with room to grow in
/// the 31 bits that machines may read it into.
fn first_number() -> u32 {
    0x1000_0000 | (rand::random::<u32>() >> 3)
}

/// Runs the attempt until it fails, which it reports, or is stopped.
pub async fn run(shared: Arc<Shared>, reports: Reports, stop: CancellationToken) {
    let opening =
        Connection::open(&shared.settings, shared.pin(), shared.patience.keep_alive, shared.patience.connect);
    let opened = tokio::select! {
        () = stop.cancelled() => return,
        opened = opening => opened,
    };
    let mut connection = match opened {
        Ok(connection) => connection,
        Err(broken) => {
            shared.differs(&broken);
            // Nobody awaits anything of a connection that never was.
            let _ = shared.handle(Event::Disconnected(broken.failure.message.clone()));
            return reports.failed(broken.failure);
        }
    };
    shared.met(connection.certificate());
    let (orders, mut taken) = mpsc::channel(ORDERS);
    *shared.orders() = Some(orders);
    let mut session = Session { shared: &shared, reports: &reports, answers: Answers::new(), ticket: 0 };
    let end = tokio::select! {
        () = stop.cancelled() => None,
        broken = session.carry(&mut connection, &mut taken) => Some(broken.failure),
    };
    *shared.orders() = None;
    let words = end.as_ref().map_or("the link was ended", |failure| failure.message.as_str());
    let actions = shared.handle(Event::Disconnected(words.to_owned()));
    session.answer(actions);
    match end {
        Some(failure) => reports.failed(failure),
        None => connection.close().await,
    }
}

struct Session<'a> {
    shared: &'a Shared,
    reports: &'a Reports,
    /// Who awaits the end of which command.
    answers: Answers,
    ticket: u64,
}

impl Session<'_> {
    /// Carries messages until the connection breaks or is given up.
    async fn carry(&mut self, connection: &mut Connection, orders: &mut mpsc::Receiver<Order>) -> Broken {
        let result = self.messages(connection, orders).await;
        result.err().unwrap_or_else(|| Broken::lost("it has come to its end"))
    }

    async fn messages(
        &mut self,
        connection: &mut Connection,
        orders: &mut mpsc::Receiver<Order>,
    ) -> Result<(), Broken> {
        let patience = self.shared.patience;
        let mut line = Line { ping: Instant::now() + patience.keep_alive, pong: None };
        let mut flood = Flood { since: Instant::now(), packets: 0, bytes: 0 };
        self.act(self.shared.handle(Event::Connected { first: first_number() }), connection).await?;
        loop {
            let tick = self.shared.next_deadline();
            let actions = tokio::select! {
                packet = connection.packet() => match flood.count(packet?)? {
                    Packet::Publish(publish) if connection.is_report(&publish) => {
                        self.shared.handle(Event::Message(&publish.payload))
                    }
                    Packet::PingResp => {
                        line.pong = None;
                        continue;
                    }
                    Packet::Disconnect => return Err(Broken::lost("the printer said goodbye")),
                    _ => continue,
                },
                order = orders.recv() => match order {
                    Some(order) => self.take(order),
                    // Cannot be: the sender is taken back only after this.
                    None => continue,
                },
                () = sleep_until(line.next()) => {
                    line.due(patience.keep_alive, patience.pong)?;
                    connection.send(&Packet::PingReq).await?;
                    continue;
                }
                () = at(tick) => self.shared.handle(Event::Tick),
            };
            self.act(actions, connection).await?;
        }
    }

    fn take(&mut self, order: Order) -> Vec<Action> {
        self.ticket += 1;
        // Whoever asked may have gone: that is no reason to forget what was asked.
        self.answers.insert(self.ticket, order.answer);
        self.shared.handle(Event::Command { command: order.command, ticket: self.ticket })
    }

    async fn act(&mut self, actions: Vec<Action>, connection: &mut Connection) -> Result<(), Broken> {
        for action in actions {
            match action {
                Action::Publish(payload) => connection.request(payload).await?,
                Action::GiveUp(words) => return Err(Broken::given_up(words)),
                Action::Heard => self.reports.frame(),
                Action::Answer { .. } => self.answer(vec![action]),
            }
        }
        Ok(())
    }

    fn answer(&mut self, actions: Vec<Action>) {
        for action in actions {
            let Action::Answer { ticket, result } = action else { continue };
            if let Some(answer) = self.answers.remove(&ticket) {
                // Nobody waits any more.
                let _ = answer.send(result);
            }
        }
    }
}

/// Whether the peer is still there: what a silent TCP connection does not say.
struct Line {
    /// When to ask next.
    ping: Instant,
    /// When the answer is late.
    pong: Option<Instant>,
}

impl Line {
    fn next(&self) -> Instant {
        self.pong.map_or(self.ping, |pong| pong.min(self.ping))
    }

    /// A ping is due, or an answer overdue.
    fn due(&mut self, keep_alive: Duration, limit: Duration) -> Result<(), Broken> {
        let now = Instant::now();
        if self.pong.is_some_and(|pong| now >= pong) {
            let seconds = limit.as_secs_f64();
            return Err(Broken::lost(format!("the printer has not answered a ping for {seconds} s")));
        }
        self.ping = now + keep_alive;
        self.pong.get_or_insert(now + limit);
        Ok(())
    }
}

/// What came within the second.
struct Flood {
    since: Instant,
    packets: u32,
    bytes: usize,
}

impl Flood {
    fn count(&mut self, packet: Packet) -> Result<Packet, Broken> {
        if self.since.elapsed() >= Duration::from_secs(1) {
            *self = Self { since: Instant::now(), packets: 0, bytes: 0 };
        }
        self.packets += 1;
        self.bytes += packet.size();
        match self.packets > PACKETS || self.bytes > BYTES {
            true => Err(Broken::given_up("it sends far more than any printer does".into())),
            false => Ok(packet),
        }
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_floods_us_is_given_up_and_a_lively_printer_is_not() {
        let mut flood = Flood { since: Instant::now(), packets: 0, bytes: 0 };
        for _ in 0..10 {
            for _ in 0..PACKETS {
                flood.count(Packet::PingResp).unwrap();
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let flooded = (0..=PACKETS).find_map(|_| flood.count(Packet::PingResp).err());
        assert!(flooded.unwrap().failure.message.contains("far more"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_answer_pings_is_gone() {
        let (every, limit) = (Duration::from_secs(15), Duration::from_secs(10));
        let mut line = Line { ping: Instant::now() + every, pong: None };
        for _ in 0..3 {
            tokio::time::sleep_until(line.next()).await;
            line.due(every, limit).unwrap();
            line.pong = None;
        }
        tokio::time::sleep_until(line.next()).await;
        line.due(every, limit).unwrap();
        let asked = Instant::now();
        tokio::time::sleep_until(line.next()).await;
        assert_eq!(asked.elapsed(), limit);
        assert!(line.due(every, limit).unwrap_err().failure.message.contains("ping"));
    }
}
