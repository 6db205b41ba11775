use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;
use proptest::prelude::*;

use super::*;
use crate::config::model::{Camera, Source};

const REQUEST: Request = Request {
    limit: None,
    max_streams: 2,
    wait: Wait { max_age: Duration::from_secs(10), patience: Duration::ZERO },
};

fn picture(number: u64) -> AccessUnit {
    AccessUnit {
        data: Bytes::from(vec![0xFF, 0xD8, number as u8, 0xFF, 0xD9]),
        pts: Duration::from_millis(number * 33),
        keyframe: true,
        epoch: 0,
        captured_at: SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_042 + number),
        captured: Instant::now(),
    }
}

struct House {
    capture: Capture,
    cameras: watch::Sender<Arc<[Capture]>>,
    stop: CancellationToken,
    mjpeg: Mjpeg,
}

fn house() -> House {
    let capture = Capture::detached(Camera::new("front", Source::Test {}));
    let cameras = watch::Sender::new(Arc::from([capture.clone()]));
    let stop = CancellationToken::new();
    let mjpeg = Mjpeg::new(cameras.subscribe(), stop.clone());
    House { capture, cameras, stop, mjpeg }
}

#[test]
fn a_part_has_its_length_its_time_and_the_next_boundary() {
    assert_eq!(
        &serialize(&picture(7))[..],
        b"Content-Type: image/jpeg\r\nContent-Length: 5\r\nX-Timestamp: 1700000000.000049\r\n\r\n\
          \xFF\xD8\x07\xFF\xD9\r\n--frame\r\n"
    );
}

#[tokio::test]
async fn the_stream_opens_with_the_same_boundary_line_that_ends_every_part() {
    let house = house();
    house.capture.jpeg().push(picture(1));
    let viewer = house.mjpeg.open(&house.capture, REQUEST).await.unwrap();
    let chunks: Vec<Bytes> = viewer.into_stream().take(2).collect().await;
    assert_eq!(&chunks[0][..], b"--frame\r\n");
    assert!(chunks[1].ends_with(b"\r\n--frame\r\n"));
}

#[tokio::test]
async fn a_part_is_serialized_once_for_all_viewers() {
    let house = house();
    house.capture.jpeg().push(picture(1));
    let request = Request { max_streams: 100, ..REQUEST };
    let mut viewers = Vec::new();
    for _ in 0..50 {
        viewers.push(house.mjpeg.open(&house.capture, request).await.unwrap());
    }
    for number in 2..12 {
        for viewer in &mut viewers {
            viewer.next().await.unwrap();
        }
        house.capture.jpeg().push(picture(number));
    }
    assert_eq!(house.mjpeg.parts(), 10, "ten pictures were shown to fifty viewers");
}

#[tokio::test]
async fn a_slow_viewer_skips_to_the_newest_frame() {
    let house = house();
    house.capture.jpeg().push(picture(1));
    let mut viewer = house.mjpeg.open(&house.capture, REQUEST).await.unwrap();
    assert_eq!(viewer.next().await.unwrap(), serialize(&picture(1)));
    for number in 2..=30 {
        house.capture.jpeg().push(picture(number));
    }
    assert_eq!(viewer.next().await.unwrap(), serialize(&picture(30)));
}

#[tokio::test]
async fn a_viewer_that_joins_gets_no_picture_twice_and_none_that_is_older() {
    let house = house();
    house.capture.jpeg().push(picture(1));
    let _present = house.mjpeg.open(&house.capture, REQUEST).await.unwrap();
    // The desk has not heard of this one when the viewer joins.
    house.capture.jpeg().push(picture(2));
    let mut viewer = house.mjpeg.open(&house.capture, REQUEST).await.unwrap();
    assert_eq!(viewer.next().await.unwrap(), serialize(&picture(2)));
    house.cameras.send_modify(|_| {});
    let again = tokio::time::timeout(Duration::from_millis(20), viewer.next()).await;
    assert!(again.is_err(), "nothing new has come");
    house.capture.jpeg().push(picture(3));
    assert_eq!(viewer.next().await.unwrap(), serialize(&picture(3)));
}

#[tokio::test]
async fn one_viewer_too_many_is_refused_and_a_place_is_free_again_when_one_leaves() {
    let house = house();
    house.capture.jpeg().push(picture(1));
    let one = house.mjpeg.open(&house.capture, REQUEST).await.unwrap();
    let _two = house.mjpeg.open(&house.capture, REQUEST).await.unwrap();
    assert!(matches!(house.mjpeg.open(&house.capture, REQUEST).await, Err(Refusal::Full(2))));
    assert_eq!((house.mjpeg.viewers(), house.mjpeg.viewers_of("front")), (2, 2));
    drop(one);
    assert_eq!(house.capture.jpeg().counters().demand, 1);
    house.mjpeg.open(&house.capture, REQUEST).await.unwrap();
}

#[tokio::test]
async fn a_refused_viewer_leaves_no_demand_behind() {
    let house = house();
    assert!(matches!(house.mjpeg.open(&house.capture, REQUEST).await, Err(Refusal::NotReady(_))));
    assert_eq!(house.capture.jpeg().counters().demand, 0);
    assert_eq!(house.mjpeg.viewers(), 0);
}

#[tokio::test]
async fn a_viewer_goes_on_with_the_camera_that_replaces_its_own() {
    let house = house();
    house.capture.jpeg().push(picture(1));
    let mut viewer = house.mjpeg.open(&house.capture, REQUEST).await.unwrap();
    viewer.next().await.unwrap();
    let replacement = Capture::detached(Camera::new("front", Source::Auto {}));
    house.cameras.send_replace(Arc::from([replacement.clone()]));
    let (part, ()) = tokio::join!(viewer.next(), async {
        // The viewer moves over as soon as it runs: its permit is the sign.
        while replacement.jpeg().counters().demand == 0 {
            tokio::task::yield_now().await;
        }
        replacement.jpeg().push(picture(9));
    });
    assert_eq!(part.unwrap(), serialize(&picture(9)));
    assert_eq!(house.capture.jpeg().counters().demand, 0);
}

#[tokio::test]
async fn a_stream_ends_when_its_camera_is_removed_or_its_output_switched_off_and_not_for_another() {
    let without = {
        let mut camera = Camera::new("front", Source::Test {});
        camera.outputs.mjpeg = false;
        Capture::detached(camera)
    };
    for cameras in [vec![], vec![without]] {
        let house = house();
        house.capture.jpeg().push(picture(1));
        let mut viewer = house.mjpeg.open(&house.capture, REQUEST).await.unwrap();
        viewer.next().await.unwrap();
        let other = Capture::detached(Camera::new("back", Source::Test {}));
        house.cameras.send_replace(Arc::from([other, house.capture.clone()]));
        house.capture.jpeg().push(picture(2));
        assert_eq!(viewer.next().await.unwrap(), serialize(&picture(2)));
        house.cameras.send_replace(cameras.into());
        assert_eq!(viewer.next().await, None);
    }
}

#[tokio::test]
async fn a_stream_ends_when_the_service_stops() {
    let house = house();
    house.capture.jpeg().push(picture(1));
    let mut viewer = house.mjpeg.open(&house.capture, REQUEST).await.unwrap();
    viewer.next().await.unwrap();
    house.stop.cancel();
    assert_eq!(viewer.next().await, None);
}

#[tokio::test]
async fn an_outage_does_not_end_a_stream() {
    let house = house();
    house.capture.jpeg().push(picture(1));
    let mut viewer = house.mjpeg.open(&house.capture, REQUEST).await.unwrap();
    viewer.next().await.unwrap();
    house.capture.jpeg().clear();
    let waiting = tokio::time::timeout(Duration::from_millis(20), viewer.next()).await;
    assert!(waiting.is_err(), "nothing is shown while the camera is away");
    house.capture.jpeg().push(picture(2));
    assert_eq!(viewer.next().await.unwrap(), serialize(&picture(2)));
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_after_a_minute_without_a_picture_and_not_before() {
    let house = house();
    house.capture.jpeg().push(picture(1));
    let mut viewer = house.mjpeg.open(&house.capture, REQUEST).await.unwrap();
    viewer.next().await.unwrap();
    tokio::time::sleep(Duration::from_secs(50)).await;
    house.capture.jpeg().push(picture(2));
    viewer.next().await.unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(viewer.next().await, None);
    assert!((59..=61).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

/// How many of `frames` pictures, `gap` apart and off by up to `jitter`, are shown at `rate`.
fn shown(rate: f64, gap: Duration, frames: u32, jitter: impl Fn(u32) -> Duration) -> usize {
    let mut pacer = Pacer::new(Some(rate));
    let start = Instant::now();
    (0..frames).filter(|n| pacer.admit(start + gap * *n + jitter(*n))).count()
}

#[test]
fn a_frame_rate_limit_gives_the_rate_that_was_asked_for() {
    let gap = Duration::from_nanos(33_333_333);
    // (asked, shown of ten seconds at 30 a second)
    for (rate, expected) in
        [(30.0, 300), (60.0, 300), (20.0, 200), (15.0, 150), (10.0, 100), (1.0, 10), (0.1, 1)]
    {
        let count = shown(rate, gap, 300, |n| Duration::from_millis(u64::from(n % 3) * 3));
        assert!(count.abs_diff(expected) <= 2, "{rate}: {count} of {expected}");
    }
}

proptest! {
    #[test]
    fn a_frame_rate_limit_is_never_exceeded(
        rate in 0.1f64..120.0,
        gaps in proptest::collection::vec(0u64..500, 1..200),
    ) {
        let mut pacer = Pacer::new(Some(rate));
        let start = Instant::now();
        let mut at = start;
        let mut count = 0u32;
        for gap in gaps {
            at += Duration::from_millis(gap);
            count += u32::from(pacer.admit(at));
        }
        let most = at.duration_since(start).as_secs_f64() * rate + 2.0;
        prop_assert!(f64::from(count) <= most, "{count} of at most {most}");
    }
}
