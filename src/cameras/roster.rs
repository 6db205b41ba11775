//! Which devices are here: nodes come and go, devices are made of them. Pure, with the time passed in.
//!
//! A USB camera has several nodes: the first gives pictures, another one metadata, some have a second one with
//! pictures. They come in any order. The first node of a device makes the camera at once; a later one with
//! pictures is waited for only as long as [`SETTLE`], in case the first has none.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::identity::Device;

/// A device whose first node does not give pictures is taken by a later one after this long.
pub const SETTLE: Duration = Duration::from_millis(200);

/// One node as the machine tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its own name: `/dev/video0`, or libcamera's name.
    pub key: String,
    /// What it belongs to: nodes of one group are one camera.
    pub group: String,
    /// Its place in the group; 0 is the first.
    pub index: u32,
    pub gives_pictures: bool,
    pub device: Device,
}

/// What the machine tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A node came, or is another one than before.
    Came(Box<Node>),
    /// By its key.
    Went(String),
}

/// What follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// By its node's key.
    Arrived(String, Device),
    Left(String),
}

/// The nodes that are here, and which of them are cameras.
#[derive(Debug, Default)]
pub struct Roster {
    nodes: BTreeMap<String, Node>,
    /// The node that is the camera of its group.
    cameras: BTreeMap<String, String>,
    /// Later nodes that wait for the first of their group.
    waiting: BTreeMap<String, Instant>,
}

impl Roster {
    pub fn came(&mut self, node: Node, now: Instant) -> Vec<News> {
        let mut news = Vec::new();
        let (key, group, pictures) = (node.key.clone(), node.group.clone(), node.gives_pictures);
        let first = node.index == 0;
        let before = self.nodes.insert(key.clone(), node.clone());
        let is_camera = self.cameras.get(&group) == Some(&key);
        match (is_camera, pictures) {
            // The same again, as udev tells of every `change`.
            (true, true) if before.as_ref() == Some(&node) => {}
            (true, _) => {
                self.cameras.remove(&group);
                news.push(News::Left(key.clone()));
                if pictures {
                    news.extend(self.take(&key));
                }
            }
            (false, true) if self.cameras.contains_key(&group) => {}
            (false, true) if first => news.extend(self.take(&key)),
            (false, true) => {
                self.waiting.entry(key).or_insert(now + SETTLE);
            }
            (false, false) => {}
        }
        news
    }

    pub fn went(&mut self, key: &str) -> Option<News> {
        let node = self.nodes.remove(key)?;
        self.waiting.remove(key);
        // The other nodes of the device are about to go as well: none of them takes over.
        if self.cameras.get(&node.group).is_some_and(|camera| camera == key) {
            self.cameras.remove(&node.group);
            return Some(News::Left(key.to_owned()));
        }
        None
    }

    /// When to call [`Roster::settle`].
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.values().min().copied()
    }

    pub fn settle(&mut self, now: Instant) -> Vec<News> {
        let due: Vec<String> =
            self.waiting.iter().filter(|(_, until)| **until <= now).map(|(key, _)| key.clone()).collect();
        due.iter().filter_map(|key| self.take(key)).collect()
    }

    /// Makes a node the camera of its group, if there is none.
    fn take(&mut self, key: &str) -> Option<News> {
        self.waiting.remove(key);
        let node = self.nodes.get(key)?;
        if self.cameras.contains_key(&node.group) {
            return None;
        }
        self.cameras.insert(node.group.clone(), key.to_owned());
        Some(News::Arrived(key.to_owned(), node.device.clone()))
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::identity::Opens;
    use super::*;

    pub fn node(key: &str, group: &str, index: u32, pictures: bool) -> Node {
        let device = Device {
            opens: Opens::V4l2(key.into()),
            name: "Acme Cam".into(),
            model: "1234:5678".into(),
            serial: None,
            port: group.into(),
            links: Vec::new(),
        };
        Node { key: key.into(), group: group.into(), index, gives_pictures: pictures, device }
    }

    fn keys(news: &[News]) -> String {
        let word = |news: &News| match news {
            News::Arrived(key, _) => format!("+{key}"),
            News::Left(key) => format!("-{key}"),
        };
        news.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_nodes_of_a_device_are_one_camera_in_whichever_order_they_come() {
        let now = Instant::now();
        for order in [[0, 1], [1, 0]] {
            let mut roster = Roster::default();
            let nodes = [node("v0", "g", 0, true), node("v1", "g", 1, false)];
            let news: Vec<News> =
                order.iter().flat_map(|index| roster.came(nodes[*index].clone(), now)).collect();
            assert_eq!((keys(&news).as_str(), roster.deadline()), ("+v0", None), "{order:?}");
            let gone: Vec<News> = order.iter().filter_map(|index| roster.went(&nodes[*index].key)).collect();
            assert_eq!(keys(&gone), "-v0", "{order:?}");
        }
    }

    #[test]
    fn a_second_node_with_pictures_waits_for_the_first() {
        let now = Instant::now();
        let mut roster = Roster::default();
        assert_eq!(keys(&roster.came(node("v2", "g", 2, true), now)), "");
        assert_eq!(roster.deadline(), Some(now + SETTLE));
        assert_eq!(keys(&roster.came(node("v0", "g", 0, true), now)), "+v0");
        assert_eq!(keys(&roster.settle(now + SETTLE)), "", "there is a camera already");
        assert_eq!(roster.deadline(), None);
        // It does not become a camera of its own while the device is being unplugged.
        assert_eq!(roster.went("v0"), Some(News::Left("v0".into())));
        assert_eq!(keys(&roster.settle(now + SETTLE * 9)), "");
    }

    #[test]
    fn a_device_whose_first_node_gives_no_pictures_is_taken_by_the_next() {
        let now = Instant::now();
        let mut roster = Roster::default();
        roster.came(node("v0", "g", 0, false), now);
        roster.came(node("v1", "g", 1, true), now);
        assert_eq!(keys(&roster.settle(now + SETTLE / 2)), "");
        assert_eq!(keys(&roster.settle(now + SETTLE)), "+v1");
    }

    #[test]
    fn what_is_told_twice_is_no_news_and_what_becomes_another_is() {
        let now = Instant::now();
        let mut roster = Roster::default();
        roster.came(node("v0", "g", 0, true), now);
        assert_eq!(keys(&roster.came(node("v0", "g", 0, true), now)), "");
        // v4l2loopback: a node that turns into an output while nobody writes to it.
        assert_eq!(keys(&roster.came(node("v0", "g", 0, false), now)), "-v0");
        assert_eq!(keys(&roster.came(node("v0", "g", 0, true), now)), "+v0");
        let mut other = node("v0", "g", 0, true);
        other.device.serial = Some("A1B2C3".into());
        assert_eq!(keys(&roster.came(other, now)), "-v0 +v0");
        assert_eq!(roster.went("v9"), None);
    }
}
