//! `fanlightmask`: the element that blackens rectangles of raw pictures, in place. It comes with this program,
//! because no package's does it without converting every picture.
//!
//! Rectangles are shares of the picture's width and height and cover every pixel they touch. They may be
//! changed while it runs. It lets no picture through that it cannot mask: rectangles that make no sense, or
//! a picture that cannot be written, end the stream.

use gst::glib;
use gstreamer as gst;
use gstreamer_video as gst_video;

/// The element's name in fragments.
pub const ELEMENT: &str = "fanlightmask";

/// A rectangle in shares of the picture: left, top, width, height.
pub type Share = [f64; 4];

glib::wrapper! {
    /// The element.
    pub struct Mask(ObjectSubclass<imp::Mask>) @extends gst_video::VideoFilter, gst_video::gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Makes the element known; again is no harm.
///
/// # Errors
/// GStreamer's.
pub fn register() -> Result<(), glib::BoolError> {
    use glib::prelude::StaticType;
    match gst::ElementFactory::find(ELEMENT) {
        Some(_) => Ok(()),
        None => gst::Element::register(None, ELEMENT, gst::Rank::NONE, Mask::static_type()),
    }
}

/// `0.1,0.2,0.3,0.4;…` as rectangles; `None` when it is not that.
pub fn parse(text: &str) -> Option<Vec<Share>> {
    let rectangle = |text: &str| {
        let mut sides = text.split(',').map(|side| side.trim().parse::<f64>().ok());
        let share = [sides.next()??, sides.next()??, sides.next()??, sides.next()??];
        (sides.next().is_none() && share.iter().all(|side| (0.0..=1.0).contains(side))).then_some(share)
    };
    text.split(';').filter(|text| !text.trim().is_empty()).map(rectangle).collect()
}

/// The opposite of [`parse`].
pub fn words(rectangles: &[Share]) -> String {
    let words = rectangles.iter().map(|[x, y, width, height]| format!("{x},{y},{width},{height}"));
    words.collect::<Vec<_>>().join(";")
}

/// From and to in samples that cover the share of `length` pixels, where a sample stands for `1 << sub` of
/// them. Rounded outwards.
pub fn span(start: f64, share: f64, length: usize, sub: u32) -> (usize, usize) {
    let pixels = length as f64;
    // What is meant as whole does not become one more by the way numbers are kept.
    let first = ((start * pixels + 1e-6).floor() as usize).min(length);
    let last = (((start + share) * pixels - 1e-6).ceil() as usize).min(length);
    let samples = length.div_ceil(1 << sub);
    ((first >> sub).min(samples), last.div_ceil(1 << sub).min(samples))
}

mod imp {
    use std::sync::{LazyLock, Mutex, PoisonError};

    use gst::glib;
    use gst::prelude::*;
    use gst_video::prelude::*;
    use gst_video::subclass::prelude::*;
    use gst_video::{VideoColorRange, VideoFormat, VideoFormatFlags, VideoFrameRef};
    use gstreamer as gst;
    use gstreamer_video as gst_video;

    use super::{Share, parse, span};

    /// Formats with a byte a sample: what cameras and decoders give.
    const FORMATS: [VideoFormat; 20] = [
        VideoFormat::I420,
        VideoFormat::Yv12,
        VideoFormat::Nv12,
        VideoFormat::Nv21,
        VideoFormat::Nv16,
        VideoFormat::Yuy2,
        VideoFormat::Uyvy,
        VideoFormat::Yvyu,
        VideoFormat::Y42b,
        VideoFormat::Y444,
        VideoFormat::Y41b,
        VideoFormat::Gray8,
        VideoFormat::Rgb,
        VideoFormat::Bgr,
        VideoFormat::Rgbx,
        VideoFormat::Bgrx,
        VideoFormat::Xrgb,
        VideoFormat::Xbgr,
        VideoFormat::Rgba,
        VideoFormat::Bgra,
    ];

    #[derive(Debug)]
    struct Settings {
        text: String,
        /// None: the text made no sense.
        rectangles: Option<Vec<Share>>,
    }

    #[derive(Debug)]
    pub struct Mask(Mutex<Settings>);

    impl Default for Mask {
        fn default() -> Self {
            Self(Mutex::new(Settings { text: String::new(), rectangles: Some(Vec::new()) }))
        }
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Mask {
        const NAME: &'static str = "FanlightMask";
        type Type = super::Mask;
        type ParentType = gst_video::VideoFilter;
    }

    impl Mask {
        fn settings(&self) -> std::sync::MutexGuard<'_, Settings> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl ObjectImpl for Mask {
        fn properties() -> &'static [glib::ParamSpec] {
            static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
                vec![
                    glib::ParamSpecString::builder("rectangles")
                        .nick("Rectangles")
                        .blurb("What is black, as left,top,width,height in shares of the picture; several with ; between")
                        .default_value(Some(""))
                        .mutable_playing()
                        .build(),
                ]
            });
            &PROPERTIES
        }

        fn constructed(&self) {
            self.parent_constructed();
            self.obj().set_passthrough(true);
        }

        fn set_property(&self, _: usize, value: &glib::Value, _: &glib::ParamSpec) {
            let text = value.get::<Option<String>>().ok().flatten().unwrap_or_default();
            let rectangles = parse(&text);
            let nothing = rectangles.as_ref().is_some_and(Vec::is_empty);
            *self.settings() = Settings { text, rectangles };
            self.obj().set_passthrough(nothing);
        }

        fn property(&self, _: usize, _: &glib::ParamSpec) -> glib::Value {
            self.settings().text.to_value()
        }
    }

    impl GstObjectImpl for Mask {}

    impl ElementImpl for Mask {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
                gst::subclass::ElementMetadata::new(
                    "Privacy mask",
                    "Filter/Effect/Video",
                    "Blackens rectangles of pictures",
                    "Fanlight",
                )
            });
            Some(&METADATA)
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
                let caps = gst_video::VideoCapsBuilder::new().format_list(FORMATS).build();
                let pad = |name, direction| {
                    gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps).ok()
                };
                [pad("sink", gst::PadDirection::Sink), pad("src", gst::PadDirection::Src)]
                    .into_iter()
                    .flatten()
                    .collect()
            });
            &TEMPLATES
        }
    }

    impl BaseTransformImpl for Mask {
        const MODE: gst_video::gst_base::subclass::BaseTransformMode =
            gst_video::gst_base::subclass::BaseTransformMode::AlwaysInPlace;
        const PASSTHROUGH_ON_SAME_CAPS: bool = false;
        const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;
    }

    impl VideoFilterImpl for Mask {
        fn transform_frame_ip(
            &self,
            frame: &mut VideoFrameRef<&mut gst::BufferRef>,
        ) -> Result<gst::FlowSuccess, gst::FlowError> {
            let rectangles = self.settings().rectangles.clone();
            let Some(rectangles) = rectangles else {
                gst::element_imp_error!(self, gst::StreamError::Failed, ["the rectangles make no sense"]);
                return Err(gst::FlowError::Error);
            };
            for share in &rectangles {
                blacken(frame, *share).ok_or_else(|| {
                    gst::element_imp_error!(self, gst::StreamError::Failed, ["a picture cannot be written"]);
                    gst::FlowError::Error
                })?;
            }
            Ok(gst::FlowSuccess::Ok)
        }
    }

    /// Makes a rectangle black; `None` when the picture is not as its format says.
    fn blacken(frame: &mut VideoFrameRef<&mut gst::BufferRef>, [x, y, width, height]: Share) -> Option<()> {
        let info = frame.info().clone();
        let format = info.format_info();
        let (columns, rows) = (info.width() as usize, info.height() as usize);
        for component in 0..format.n_components() {
            let at = component as usize;
            let alpha = format.flags().contains(VideoFormatFlags::ALPHA) && component == 3;
            if alpha {
                continue;
            }
            let luma = component == 0;
            let black = match (format.flags().contains(VideoFormatFlags::RGB), luma) {
                (true, _) => 0,
                (false, false) => 128,
                (false, true) if info.colorimetry().range() == VideoColorRange::Range0_255 => 0,
                (false, true) => 16,
            };
            let plane = format.plane().get(at).copied()?;
            let stride = usize::try_from(info.stride().get(plane as usize).copied()?).ok()?;
            let step = usize::try_from(format.pixel_stride().get(at).copied()?).ok()?;
            let offset = format.poffset().get(at).copied()? as usize;
            let (left, right) = span(x, width, columns, format.w_sub().get(at).copied()?);
            let (top, bottom) = span(y, height, rows, format.h_sub().get(at).copied()?);
            let data = frame.plane_data_mut(plane).ok()?;
            if left == right {
                continue;
            }
            for row in top..bottom {
                let from = row * stride + left * step + offset;
                let line = data.get_mut(from..=from + (right - left - 1) * step)?;
                if step == 1 {
                    line.fill(black);
                } else {
                    line.iter_mut().step_by(step).for_each(|sample| *sample = black);
                }
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use gst::prelude::*;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_pixel_that_a_rectangle_touches_stays_open(
            start in 0.0..1.0_f64, share in 0.0..1.0_f64, length in 1..5000_usize, sub in 0..3_u32,
        ) {
            let share = share.min(1.0 - start);
            let (from, to) = span(start, share, length, sub);
            prop_assert!(from <= to && to <= length.div_ceil(1 << sub));
            let (first, last) = (start * length as f64, (start + share) * length as f64);
            prop_assert!((from << sub) as f64 <= first + 1e-3);
            prop_assert!(((to << sub).min(length)) as f64 >= last - 1e-3);
        }

        #[test]
        fn rectangles_are_read_as_they_were_written(sides in proptest::collection::vec([0.0..=1.0, 0.0..=1.0, 0.0..=1.0, 0.0..=1.0], 0..4)) {
            prop_assert_eq!(parse(&words(&sides)), Some(sides));
        }
    }

    #[test]
    fn what_is_no_rectangle_is_refused() {
        for bad in ["x", "0.1,0.2,0.3", "0,0,1,1,1", "0,0,2,1", "-0.1,0,1,1", "0,0,nan,1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    /// One white picture of this form through the element, as RGB.
    fn masked(caps: &str, rectangles: &str) -> Option<(usize, Vec<u8>)> {
        gst::init().unwrap();
        register().unwrap();
        let line = format!(
            "videotestsrc num-buffers=1 pattern=white ! video/x-raw,{caps} ! {ELEMENT} name=mask ! videoconvert \
             ! video/x-raw,format=RGB ! appsink name=sink"
        );
        let pipeline = gst::parse::launch(&line).unwrap().downcast::<gst::Pipeline>().unwrap();
        pipeline.by_name("mask").unwrap().set_property("rectangles", rectangles);
        let sink = pipeline.by_name("sink").unwrap().downcast::<gstreamer_app::AppSink>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let sample = sink.pull_sample().ok();
        let picture = sample.map(|sample| {
            let info = gst_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
            let frame =
                gst_video::VideoFrameRef::from_buffer_ref_readable(sample.buffer().unwrap(), &info).unwrap();
            (info.stride()[0] as usize, frame.plane_data(0).unwrap().to_vec())
        });
        pipeline.set_state(gst::State::Null).unwrap();
        picture
    }

    #[test]
    fn every_form_of_picture_gets_its_black_rectangle_and_no_more() {
        for format in ["I420", "NV12", "YUY2", "UYVY", "Y42B", "Y444", "GRAY8", "RGB", "BGRx", "xRGB", "BGRA"]
        {
            for size in ["width=64,height=48", "width=66,height=50"] {
                let (stride, picture) =
                    masked(&format!("format={format},{size}"), "0.25,0.25,0.25,0.5").unwrap();
                let pixel = |x: usize, y: usize| picture[y * stride + x * 3];
                for (x, y) in [(17, 13), (31, 35), (24, 24)] {
                    assert!(pixel(x, y) < 20, "{format} {size}: {x},{y} is {}", pixel(x, y));
                }
                for (x, y) in [(12, 24), (40, 24), (24, 8), (24, 42), (0, 0)] {
                    assert!(pixel(x, y) > 230, "{format} {size}: {x},{y} is {}", pixel(x, y));
                }
            }
        }
    }

    #[test]
    fn with_rectangles_that_make_no_sense_no_picture_comes_through() {
        assert!(masked("format=I420,width=64,height=48", "everything").is_none());
        assert!(masked("format=I420,width=64,height=48", "").is_some());
    }
}
