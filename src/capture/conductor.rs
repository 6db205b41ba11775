//! Who is wanted: one task per camera that turns demand at the outlets into demand for encoders and for
//! the source. Nothing is encoded for nobody; with `idle = "close"` nothing is captured for nobody.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::choice::{Lane, Route};
use super::shared::Shared;
use crate::config::model::Idle;
use crate::supervision::Handle;

/// An outlet is wanted for this long after its last consumer left: one that reconnects finds it running.
pub const LINGER: Duration = Duration::from_secs(2);

/// One outlet's demand over time.
#[derive(Debug)]
struct Wish {
    lane: Lane,
    encoder: Handle,
    demanded: watch::Receiver<usize>,
    wanted: bool,
    /// When it stops being wanted, while nobody demands it.
    until: Option<Instant>,
    /// The source's epoch that the encoder runs on, and the revision of what is done to its pictures.
    run: Option<(u64, u64)>,
}

/// Runs until it is dropped. An outlet stays wanted for `linger` after its last consumer.
pub async fn run(shared: Arc<Shared>, source: Handle, encoders: [(Lane, Handle); 3], linger: Duration) {
    let mut wishes = encoders.map(|(lane, encoder)| Wish {
        lane,
        encoder,
        demanded: shared.outlet(lane).demanded(),
        wanted: false,
        until: None,
        run: None,
    });
    let mut format = shared.format.subscribe();
    let mut revised = shared.revised.subscribe();
    loop {
        let now = Instant::now();
        let changed = shared.current().transforms.any();
        let realtime = shared.format.borrow().as_ref().map(|f| f.route(Lane::Realtime, changed));
        // Until the camera has said what it gives, the realtime outlet is taken for one that shares.
        let shares = realtime.is_none_or(|route| route == Route::Shared);
        // Each is looked at once: consumers come on other threads, and a change between two looks would be
        // seen by one lane and not by the other.
        let demands = wishes.each_mut().map(|wish| *wish.demanded.borrow_and_update() > 0);
        let realtime =
            wishes.iter().zip(demands).any(|(wish, demanded)| demanded && wish.lane == Lane::Realtime);
        for (wish, demanded) in wishes.iter_mut().zip(demands) {
            let demanded = match wish.lane {
                Lane::Jpeg => demanded,
                Lane::H264 => demanded || (realtime && shares),
                Lane::Realtime => demanded && !shares,
            };
            wish.look(demanded, &shared, &source, now, linger);
        }
        let anybody = wishes.iter().any(|wish| wish.wanted);
        source.demand(shared.camera.idle == Idle::Open || anybody);
        if shared.camera.idle == Idle::Close && !anybody {
            shared.native.clear();
        }
        let wake = wishes.iter().filter_map(|wish| wish.until).min();
        let [jpeg, h264, realtime] = &mut wishes;
        tokio::select! {
            _ = jpeg.demanded.changed() => {}
            _ = h264.demanded.changed() => {}
            _ = realtime.demanded.changed() => {}
            _ = format.changed() => {}
            _ = revised.changed() => {}
            () = sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
        }
    }
}

impl Wish {
    /// Takes in what has changed and tells the encoder.
    fn look(&mut self, demanded: bool, shared: &Shared, source: &Handle, now: Instant, linger: Duration) {
        let arrived = demanded && !self.wanted;
        match (demanded, self.until) {
            (true, _) => (self.wanted, self.until) = (true, None),
            (false, None) if self.wanted => self.until = Some(now + linger),
            (false, Some(until)) if until <= now => (self.wanted, self.until) = (false, None),
            _ => {}
        }
        if arrived {
            // A viewer: whoever waits to be tried again is tried now.
            source.poke();
            self.encoder.poke();
        }
        let (changed, revision) = {
            let current = shared.current();
            (current.transforms.any(), current.revision)
        };
        let format = shared.format.borrow();
        let given = format.as_ref().map(|format| (format.route(self.lane, changed), format.epoch));
        drop(format);
        let needless = given.is_some_and(|(route, _)| matches!(route, Route::Passthrough | Route::Shared));
        let run = given.filter(|_| self.wanted && !needless).map(|(_, epoch)| (epoch, revision));
        if run != self.run {
            // A new run of the source is a new timeline: the encoder begins anew with it.
            if self.run.is_some() && run.is_some() {
                self.encoder.restart();
            }
            self.encoder.demand(run.is_some());
            self.run = run;
        }
        // With nobody watching, an encoded outlet's newest picture grows old while the camera lives on.
        if !self.wanted && !needless {
            shared.outlet(self.lane).clear();
        }
    }
}
