//! One connection as the methods see it: who is there, what it subscribed to, how much it may ask.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Rpc;
use super::engine::{Call, Handler};
use super::error::Error;
use super::outbox::Outbox;
use crate::access::{Credentials, Door, Identity, Role, allow};

/// A call that has no result by then is answered by an error.
const CALL_WITHIN: Duration = Duration::from_secs(20);

/// Where a connection came from.
#[derive(Clone, Debug)]
pub struct From {
    pub client: Option<IpAddr>,
    pub door: Door,
    /// How this client reaches HTTP: `http://host:port`.
    pub base: String,
}

/// What notifications are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
// They are the names of the notifications.
#[allow(clippy::enum_variant_names)]
pub enum Topic {
    CameraStatusUpdate,
    RecordingStatusUpdate,
    PrinterStatusUpdate,
}

impl Topic {
    pub const ALL: [Topic; 3] =
        [Topic::CameraStatusUpdate, Topic::RecordingStatusUpdate, Topic::PrinterStatusUpdate];

    pub const fn name(self) -> &'static str {
        match self {
            Topic::CameraStatusUpdate => "camera_status_update",
            Topic::RecordingStatusUpdate => "recording_status_update",
            Topic::PrinterStatusUpdate => "printer_status_update",
        }
    }
}

#[derive(Debug)]
pub struct Session {
    pub id: u64,
    pub rpc: Rpc,
    pub from: From,
    pub outbox: Outbox,
    began: Instant,
    /// When the client was last heard of, in milliseconds since it came.
    heard: AtomicU64,
    /// A call is being answered, and the client not listened to.
    answering: AtomicBool,
    state: Mutex<State>,
}

/// While a call is being answered.
#[derive(Debug)]
pub struct Busy<'s>(&'s Session);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.hear();
        self.0.answering.store(false, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct State {
    identity: Option<Identity>,
    /// Topic and the id of the camera that it is limited to.
    topics: BTreeMap<Topic, Option<String>>,
    bucket: Bucket,
}

/// How much may be asked: a token bucket. Pure.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    used: f64,
    at: Duration,
}

impl Bucket {
    /// Takes one at `now`; twice the rate may be taken at once.
    fn take(&mut self, per_second: f64, now: Duration) -> Result<(), Duration> {
        let regained = now.saturating_sub(self.at).as_secs_f64() * per_second;
        let used = (self.used - regained).max(0.0) + 1.0;
        (self.used, self.at) = match used > 2.0 * per_second {
            true => (used - 1.0, now),
            false => (used, now),
        };
        match used > 2.0 * per_second {
            true => Err(Duration::from_secs_f64((used - 2.0 * per_second) / per_second)),
            false => Ok(()),
        }
    }
}

impl Session {
    pub fn new(id: u64, rpc: Rpc, from: From) -> Self {
        Self {
            id,
            rpc,
            from,
            outbox: Outbox::default(),
            began: Instant::now(),
            heard: AtomicU64::new(0),
            answering: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// The client is there.
    pub fn hear(&self) {
        self.heard.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Nobody counts as silent until this is dropped.
    pub fn busy(&self) -> Busy<'_> {
        self.answering.store(true, Ordering::Relaxed);
        Busy(self)
    }

    /// How long ago it came.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// For how long nothing was heard.
    pub fn silent(&self) -> Duration {
        if self.answering.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        self.began.elapsed().saturating_sub(Duration::from_millis(self.heard.load(Ordering::Relaxed)))
    }

    /// Who is there; without a login what the policy says.
    pub fn role(&self) -> Option<Role> {
        let known = self.lock().identity.as_ref().map(|identity| identity.role);
        known.or_else(|| self.rpc.house().access.anonymous(self.from.door))
    }

    pub async fn authenticate(&self, token: &str) -> Result<Identity, Error> {
        let shown = Credentials::Token(token);
        let identity = self.rpc.house().access.identify(self.from.client, shown).await?;
        self.lock().identity = Some(identity.clone());
        Ok(identity)
    }

    /// Asks anew whether the login still holds; without it the subscriptions end too. Whether it was taken away,
    /// which is more than that it expired. Called once a while.
    pub async fn look_again(&self) -> bool {
        let identity = self.lock().identity.clone();
        let gone = match &identity {
            Some(identity) => !self.rpc.house().access.still(identity).await,
            None => false,
        };
        if gone {
            self.lock().identity = None;
        }
        if self.role().is_none() {
            self.lock().topics.clear();
        }
        let expired = |until: SystemTime| SystemTime::now() >= until;
        gone && !identity.and_then(|identity| identity.until).is_some_and(expired)
    }

    pub fn subscribe(&self, topics: &[Topic], camera: Option<&str>) {
        let mut state = self.lock();
        state.topics.extend(topics.iter().map(|topic| (*topic, camera.map(str::to_owned))));
    }

    /// All of them when none is named.
    pub fn unsubscribe(&self, topics: &[Topic]) {
        self.lock().topics.retain(|topic, _| !topics.is_empty() && !topics.contains(topic));
    }

    pub fn topics(&self) -> BTreeMap<Topic, Option<String>> {
        self.lock().topics.clone()
    }

    pub fn wants(&self, topic: Topic, camera: &str) -> bool {
        let state = self.lock();
        state.topics.get(&topic).is_some_and(|only| only.as_deref().is_none_or(|only| only == camera))
    }

    fn admit(&self) -> Result<(), Error> {
        let per_second = self.rpc.house().config.borrow().rpc.calls_per_second;
        let taken = self.lock().bucket.take(f64::from(per_second), self.began.elapsed());
        taken.map_err(|wait| Error::rate(format!("a connection may make {per_second} calls a second"), wait))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Plain data that is whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(self: Arc<Self>, call: Call) -> Result<Value, Error> {
        // To stop a motor is never too much.
        if !matches!(call.method.as_str(), "stop_stepper" | "disable_stepper") {
            self.admit()?;
        }
        let rpc = self.rpc.clone();
        let method = rpc.method(&call.method).ok_or_else(|| Error::no_method(&call.method))?;
        if let Some(needs) = method.needs {
            let expired =
                |identity: &Identity| identity.until.is_some_and(|until| SystemTime::now() >= until);
            if self.lock().identity.as_ref().is_some_and(expired) {
                self.look_again().await;
            }
            let name = self.lock().identity.as_ref().map(|identity| identity.name.clone());
            allow(self.role(), name.as_deref().unwrap_or("a visitor"), needs)?;
        }
        let done = tokio::time::timeout(CALL_WITHIN, method.call(Arc::clone(&self), call.params)).await;
        done.unwrap_or_else(|_| Err(Error::too_long(CALL_WITHIN.as_secs())))
    }
}

/// The calls of one connection.
#[derive(Debug)]
pub struct Calls(pub Arc<Session>);

impl Handler for Calls {
    async fn call(&self, call: Call) -> Result<Value, Error> {
        // The calls of a batch take turns with everything else that runs here.
        tokio::task::yield_now().await;
        let began = Instant::now();
        let done = Arc::clone(&self.0).call(call).await;
        self.0.rpc.count(began.elapsed(), done.is_ok());
        done
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_connection_may_ask_twice_its_rate_at_once_and_then_waits() {
        let mut bucket = Bucket::default();
        let at = Duration::from_secs(5);
        for _ in 0..20 {
            assert_eq!(bucket.take(10.0, at), Ok(()));
        }
        let wait = bucket.take(10.0, at).unwrap_err();
        assert!(wait <= Duration::from_millis(101) && wait >= Duration::from_millis(99), "{wait:?}");
        assert!(bucket.take(10.0, at + wait / 2).is_err());
        assert_eq!(bucket.take(10.0, at + Duration::from_millis(110)), Ok(()));
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_the_rate_and_the_burst(steps in prop::collection::vec(0u64..500, 1..300)) {
            let (mut bucket, mut now, mut taken) = (Bucket::default(), Duration::ZERO, 0_u32);
            for step in steps {
                now += Duration::from_millis(step);
                taken += u32::from(bucket.take(5.0, now).is_ok());
            }
            prop_assert!(f64::from(taken) <= 10.0 + 5.0 * now.as_secs_f64() + 1e-6);
        }
    }
}
