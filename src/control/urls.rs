//! Where a camera's pictures are: paths of HTTP, or whole addresses for who is not on HTTP already.

use serde::Serialize;
use url::Url;
use utoipa::ToSchema;

use crate::capture::Capture;
use crate::serve::rtsp::Rtsp;

/// Where the outputs of a camera are; null is one that is switched off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Urls {
    /// MJPEG.
    pub stream: Option<String>,
    pub snapshot: Option<String>,
    pub hls: Option<String>,
    /// Low-latency HLS, TS.
    pub hls_ll: Option<String>,
    /// Low-latency HLS, fMP4: what Safari wants.
    pub hls_ll_fmp4: Option<String>,
    /// WebRTC by WHEP.
    pub whep: Option<String>,
    /// The whole URL: it is another port.
    pub rtsp: Option<String>,
    /// The same inside TLS.
    pub rtsps: Option<String>,
}

impl Urls {
    pub fn of(capture: &Capture, low_latency: bool, rtsp: Option<&Rtsp>) -> Self {
        let (id, outputs) = (capture.id(), &capture.camera().outputs);
        let low_latency = outputs.hls && low_latency;
        Self {
            stream: outputs.mjpeg.then(|| format!("/cameras/{id}/stream.mjpg")),
            snapshot: outputs.snapshot.then(|| format!("/cameras/{id}/snapshot.jpg")),
            hls: outputs.hls.then(|| format!("/hls/{id}/stream.m3u8")),
            hls_ll: low_latency.then(|| format!("/hls/{id}/stream_ll.m3u8")),
            hls_ll_fmp4: low_latency.then(|| format!("/hls/{id}/stream_ll_fmp4.m3u8")),
            whep: outputs.whep.then(|| format!("/cameras/{id}/whep")),
            rtsp: rtsp.filter(|_| outputs.rtsp).map(|rtsp| rtsp.url(id)),
            rtsps: rtsp.filter(|_| outputs.rtsp).and_then(|rtsp| rtsp.tls_url(id)),
        }
    }

    /// The same as whole addresses for who reaches HTTP at `http://host:port`.
    pub fn at(mut self, base: &str) -> Self {
        let Self { stream, snapshot, hls, hls_ll, hls_ll_fmp4, whep, rtsp, rtsps } = &mut self;
        let host = Url::parse(base).ok().and_then(|base| base.host_str().map(str::to_owned));
        for url in [rtsp, rtsps].into_iter().flatten() {
            if let (Some(host), Ok(mut there)) = (&host, Url::parse(url))
                && there.set_host(Some(host)).is_ok()
            {
                *url = there.into();
            }
        }
        for path in [stream, snapshot, hls, hls_ll, hls_ll_fmp4, whep].into_iter().flatten() {
            path.insert_str(0, base);
        }
        self
    }

    /// The one that most players take.
    pub fn best(&self) -> Option<&str> {
        [&self.rtsp, &self.hls, &self.stream, &self.whep, &self.snapshot]
            .into_iter()
            .find_map(|url| url.as_deref())
    }
}
