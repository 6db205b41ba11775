//! Offers and answers: how a viewer's session comes about, and how its ICE begins anew.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use str0m::change::{SdpAnswer, SdpOffer};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::rtp::Extension;
use str0m::{Candidate, IceCreds, Rtc, RtcConfig};

use super::super::demux::Key;
use super::super::pace::Pacer;
use super::super::sdp::{self, Choice};
use super::super::srtp;
use super::super::types::{Patched, Refusal, Who};
use super::pictures::REPLAY_EVERY;
use super::{Counts, Viewer, Wishes};

/// Sent packets that can be sent again: about as long as a viewer waits for one.
const RESEND_PACKETS: usize = 1024;
const RESEND_AGE: Duration = Duration::from_millis(1500);
/// Repetitions may be this share of all bytes.
const RESEND_SHARE: Option<f32> = Some(0.5);
/// How often str0m tells round trip and loss.
const STATS_EVERY: Duration = Duration::from_secs(2);

/// What all sessions are made with.
#[derive(Clone, Debug)]
pub struct Recipe {
    config: RtcConfig,
}

impl Recipe {
    /// One certificate for the process. `None` when OpenSSL cannot make one.
    pub fn new() -> Option<Self> {
        let provider = srtp::provider();
        let certificate = provider.dtls_provider.generate_certificate()?;
        let config = RtcConfig::new()
            .set_crypto_provider(provider)
            .set_dtls_cert(certificate)
            .set_ice_lite(true)
            .set_rtp_mode(true)
            .set_stats_interval(Some(STATS_EVERY))
            // Without transport-wide congestion control a fifth of the packets comes in. The MID tells
            // bundled sections apart.
            .clear_extension_map()
            .set_extension(4, Extension::RtpMid)
            .clear_codecs();
        Some(Self { config })
    }

    fn build(&self, choices: &[Choice], candidates: &[Candidate], now: Instant) -> (Rtc, String) {
        let mut config = self.config.clone();
        for choice in choices {
            let rtx = choice.rtx.map(Pt::from);
            config.codec_config().add_h264(choice.pt.into(), rtx, choice.mode_1, choice.profile_level_id);
        }
        let credentials = IceCreds { ufrag: random(8), pass: random(24) };
        let ufrag = credentials.ufrag.clone();
        let mut rtc = config.set_local_ice_credentials(credentials).build(now);
        for candidate in candidates {
            rtc.add_local_candidate(candidate.clone());
        }
        (rtc, ufrag)
    }
}

/// `length` characters from `[0-9a-f]`, at most 32.
pub fn random(length: usize) -> String {
    let mut text = format!("{:032x}", rand::random::<u128>());
    text.truncate(length);
    text
}

impl Viewer {
    fn new(
        key: Key,
        camera: &str,
        who: Who,
        (rtc, ufrag): (Rtc, String),
        candidates: &[Candidate],
        now: Instant,
    ) -> Self {
        Self {
            key,
            session: random(32),
            camera: camera.to_owned(),
            who,
            ufrag,
            wishes: Wishes::default(),
            deadline: now,
            ended: None,
            reported: now,
            begun: now,
            connected: None,
            name: random(8),
            since: SystemTime::now(),
            heard: now,
            rtc,
            offer: Box::default(),
            generation: 0,
            invitation: None,
            reachable: candidates.iter().map(|candidate| (candidate.proto(), candidate.addr())).collect(),
            mid: None,
            pt: Pt::from(0),
            rtx: None,
            // Below 2^15, so that the first wrap is far (RFC 3711 3.3.1).
            sequence: u64::from(rand::random::<u16>() >> 1),
            zero: 0,
            last_time: None,
            started: false,
            replayed: None,
            replay_after: REPLAY_EVERY,
            queue: VecDeque::new(),
            sent: 0,
            pacer: Pacer::new(now),
            path: None,
            counts: Counts::default(),
            rtt: None,
            loss: None,
            first_picture: None,
            metered: (0, now, 0.0),
        }
    }

    /// From a viewer's offer; with the answer.
    pub fn of_offer(
        key: Key,
        camera: (&str, Option<u8>),
        (offer, who): (&str, Who),
        recipe: &Recipe,
        candidates: &[Candidate],
        now: Instant,
    ) -> Result<(Self, String), Refusal> {
        if offer.len() > sdp::MAX_SDP {
            return Err(Refusal::BadSdp(format!("it is longer than {} bytes", sdp::MAX_SDP)));
        }
        let choice = sdp::choose(offer, camera.1)?;
        let offer = sdp::without_candidates(offer);
        let parsed = SdpOffer::from_sdp_string(&offer).map_err(|error| bad(&error))?;
        let mut viewer =
            Self::new(key, camera.0, who, recipe.build(&[choice], candidates, now), candidates, now);
        let answer = viewer.rtc.sdp_api().accept_offer(parsed).map_err(|error| bad(&error))?;
        let answer = answer.to_sdp_string();
        viewer.settle(sdp::video_mid(&offer, &answer).map(Mid::from).ok_or(Refusal::NoVideo)?)?;
        let answer = sdp::polish(&answer, Some(&offer));
        viewer.offer = offer.into();
        Ok((viewer, answer))
    }

    /// With an offer of ours, to be answered.
    pub fn of_invitation(
        key: Key,
        camera: (&str, Option<u8>),
        who: Who,
        recipe: &Recipe,
        candidates: &[Candidate],
        now: Instant,
    ) -> Result<(Self, String), Refusal> {
        // The camera's own profile first, as in an answer.
        let mut profiles = [0x42_e01f_u32, 0x4d_001f, 0x64_001f, 0x42_001f];
        profiles.sort_by_key(|id| Some((id >> 16) as u8) != camera.1);
        let choices: Vec<Choice> = (96..)
            .step_by(2)
            .zip(profiles)
            .map(|(pt, profile_level_id)| Choice { pt, rtx: Some(pt + 1), profile_level_id, mode_1: true })
            .collect();
        let mut viewer =
            Self::new(key, camera.0, who, recipe.build(&choices, candidates, now), candidates, now);
        let mut api = viewer.rtc.sdp_api();
        let stream = Some(camera.0.to_owned());
        let mid = api.add_media(MediaKind::Video, Direction::SendOnly, stream, None, None);
        let (offer, pending) =
            api.apply().ok_or_else(|| Refusal::BadSdp("there is nothing to offer".to_owned()))?;
        viewer.invitation = Some((pending, mid));
        Ok((viewer, sdp::polish(&offer.to_sdp_string(), None)))
    }

    /// The answer to an invitation.
    pub fn answer(&mut self, answer: &str) -> Result<(), Refusal> {
        if answer.len() > sdp::MAX_SDP {
            return Err(Refusal::BadSdp(format!("it is longer than {} bytes", sdp::MAX_SDP)));
        }
        let parsed =
            SdpAnswer::from_sdp_string(&sdp::without_candidates(answer)).map_err(|error| bad(&error))?;
        let Some((pending, mid)) = self.invitation.take() else {
            return Err(Refusal::BadSdp("this session has been answered already".to_owned()));
        };
        let taken = self.rtc.sdp_api().accept_answer(pending, parsed).map_err(|error| bad(&error));
        let taken = taken.and_then(|()| self.settle(mid));
        if let Err(refusal) = &taken {
            self.ended = Some(format!("its answer cannot be used: {refusal}"));
        }
        taken
    }

    /// Finds what was agreed on for that section.
    fn settle(&mut self, mid: Mid) -> Result<(), Refusal> {
        let media =
            self.rtc.media(mid).filter(|media| media.direction().is_sending()).ok_or(Refusal::NoVideo)?;
        let offered = media.remote_pts().to_vec();
        let agreed = self.rtc.codec_config().params().iter().find(|params| {
            // Only what was chosen from the offer, or offered by us, is in this list.
            params.spec().codec == Codec::H264 && offered.contains(&params.pt())
        });
        let Some(agreed) = agreed else {
            return Err(Refusal::NoH264("none that both sides know".to_owned()));
        };
        (self.pt, self.rtx) = (agreed.pt(), agreed.resend());
        self.mid = Some(mid);
        if let Some(stream) = self.rtc.direct_api().stream_tx_by_mid(mid, None) {
            stream.set_rtx_cache(RESEND_PACKETS, RESEND_AGE, RESEND_SHARE);
        }
        Ok(())
    }

    pub fn etag(&self) -> String {
        format!("{}-{}", self.name, self.generation)
    }

    /// An ICE restart: the viewer has new credentials. The media goes on meanwhile.
    pub fn restart(&mut self, ufrag: &str, pwd: &str) -> Result<Patched, Refusal> {
        if self.offer.is_empty() {
            return Err(Refusal::BadSdp(
                "an invited session cannot restart ICE: ask for a new one".to_owned(),
            ));
        }
        if !sdp::are_credentials(ufrag, pwd) {
            return Err(Refusal::BadSdp("the fragment's ice-ufrag or ice-pwd is malformed".to_owned()));
        }
        let offer = sdp::with_credentials(&self.offer, ufrag, pwd);
        let parsed = SdpOffer::from_sdp_string(&offer).map_err(|error| bad(&error))?;
        let answer = self.rtc.sdp_api().accept_offer(parsed).map_err(|error| bad(&error))?;
        let answer = sdp::polish(&answer.to_sdp_string(), Some(&offer));
        self.offer = offer.into();
        self.ufrag = self.rtc.direct_api().local_ice_credentials().ufrag;
        self.generation += 1;
        Ok(Patched::Restarted { sdp_fragment: sdp::fragment(&answer), etag: self.etag() })
    }

    /// The viewer's ICE credentials as known; `None` while an invitation is not answered.
    pub fn remote_credentials(&self) -> Option<(&str, &str)> {
        sdp::credentials(&self.offer)
    }
}

fn bad(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::BadSdp(error.to_string())
}
