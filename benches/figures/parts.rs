//! Counts the pictures of an MJPEG answer as it arrives, chunked or not, passing over their bytes: a
//! hundred viewers on the machine of the server must not cost more than it does.

use crate::source;

/// Longest head or line that is taken for one.
const LINE: usize = 8 * 1024;

#[derive(Debug, Default)]
pub struct Parts {
    transfer: Transfer,
    body: Body,
    /// Bytes of a head or line that is not complete.
    line: Vec<u8>,
    head: Vec<u8>,
}

#[derive(Debug, Default)]
enum Transfer {
    #[default]
    Head,
    Plain,
    Size,
    Chunk(usize),
    /// CR LF after a chunk.
    Gap(usize),
}

#[derive(Debug, Default)]
enum Body {
    #[default]
    Head,
    Picture {
        left: usize,
        first: Vec<u8>,
    },
}

impl Parts {
    /// Takes what arrived; calls `picture` with the number of each picture whose last byte it holds.
    ///
    /// # Errors
    /// In words, when this is no MJPEG stream.
    pub fn feed(&mut self, mut bytes: &[u8], picture: &mut impl FnMut(u64)) -> Result<(), String> {
        while !bytes.is_empty() {
            match &mut self.transfer {
                Transfer::Head => {
                    let Some(used) = until(&mut self.line, bytes, b"\r\n\r\n")? else { return Ok(()) };
                    bytes = &bytes[used..];
                    let head = String::from_utf8_lossy(&self.line).to_ascii_lowercase();
                    if head.split(' ').nth(1) != Some("200") {
                        return Err(head);
                    }
                    let chunked = head.contains("transfer-encoding: chunked");
                    self.transfer = if chunked { Transfer::Size } else { Transfer::Plain };
                    self.line.clear();
                }
                Transfer::Plain => {
                    self.body.feed(&mut self.head, bytes, picture)?;
                    return Ok(());
                }
                Transfer::Size => {
                    let Some(used) = until(&mut self.line, bytes, b"\r\n")? else { return Ok(()) };
                    bytes = &bytes[used..];
                    let text = String::from_utf8_lossy(&self.line).trim().to_owned();
                    let size =
                        usize::from_str_radix(&text, 16).map_err(|_| format!("chunk size {text:?}"))?;
                    self.transfer = Transfer::Chunk(size);
                    self.line.clear();
                }
                Transfer::Chunk(left) => {
                    let take = bytes.len().min(*left);
                    *left -= take;
                    let done = *left == 0;
                    self.body.feed(&mut self.head, &bytes[..take], picture)?;
                    bytes = &bytes[take..];
                    if done {
                        self.transfer = Transfer::Gap(2);
                    }
                }
                Transfer::Gap(left) => {
                    let take = bytes.len().min(*left);
                    *left -= take;
                    bytes = &bytes[take..];
                    if *left == 0 {
                        self.transfer = Transfer::Size;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Body {
    fn feed(
        &mut self,
        head: &mut Vec<u8>,
        mut bytes: &[u8],
        picture: &mut impl FnMut(u64),
    ) -> Result<(), String> {
        while !bytes.is_empty() {
            match self {
                Body::Head => {
                    let Some(used) = until(head, bytes, b"\r\n\r\n")? else { return Ok(()) };
                    bytes = &bytes[used..];
                    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
                    let length = text
                        .split("content-length:")
                        .nth(1)
                        .and_then(|rest| rest.split("\r\n").next()?.trim().parse().ok());
                    let left = length.ok_or_else(|| format!("a part without Content-Length: {text:?}"))?;
                    head.clear();
                    *self = Body::Picture { left, first: Vec::with_capacity(source::NUMBERED) };
                }
                Body::Picture { left, first } => {
                    let take = bytes.len().min(*left);
                    let missing = source::NUMBERED.saturating_sub(first.len()).min(take);
                    first.extend_from_slice(&bytes[..missing]);
                    *left -= take;
                    bytes = &bytes[take..];
                    if *left == 0 {
                        picture(source::number(first).ok_or("a picture that is not the camera's")?);
                        *self = Body::Head;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Moves bytes to `line` up to and with `end`; how many, or `None` when `end` has not come yet.
fn until(line: &mut Vec<u8>, bytes: &[u8], end: &[u8]) -> Result<Option<usize>, String> {
    for (index, byte) in bytes.iter().enumerate() {
        line.push(*byte);
        if line.ends_with(end) {
            return Ok(Some(index + 1));
        }
        if line.len() > LINE {
            return Err("a head without an end".into());
        }
    }
    Ok(None)
}
