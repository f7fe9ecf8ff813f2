//! What came over a connection and was not looked at yet.

use super::{BODY_MAX, BadFrame, Frame, HEADER_BYTES};

/// A buffer that holds the longest frame that is taken. Bytes are read into its room, and frames
/// taken off its front, where they lie.
pub struct Intake {
    bytes: Vec<u8>,
    body_max: usize,
    /// What came and was not taken is `bytes[start..end]`.
    start: usize,
    end: usize,
}

impl Default for Intake {
    fn default() -> Self {
        Self::up_to(BODY_MAX)
    }
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake").field("waiting", &(self.end - self.start)).finish_non_exhaustive()
    }
}

impl Intake {
    /// One that takes bodies of at most so many bytes, and never more than [`BODY_MAX`].
    pub fn up_to(body_max: usize) -> Self {
        let body_max = body_max.min(BODY_MAX);
        Self { bytes: vec![0; HEADER_BYTES + body_max], body_max, start: 0, end: 0 }
    }

    /// Takes the longest bodies from now on. What came and was not taken stays.
    pub fn widen(&mut self) {
        let mut wide = Self::default();
        let waiting = &self.bytes[self.start..self.end];
        wide.bytes[..waiting.len()].copy_from_slice(waiting);
        wide.end = waiting.len();
        *self = wide;
    }

    /// Where to read to. There is always room once [`take`](Self::take) has given nothing.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            // What is left is the beginning of one frame.
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.bytes[self.end..]
    }

    /// Says that so many bytes were read to the front of the room.
    ///
    /// # Panics
    /// If there was not so much room.
    pub fn filled(&mut self, bytes: usize) {
        assert!(bytes <= self.bytes.len() - self.end, "{bytes} bytes are more than there was room");
        self.end += bytes;
    }

    /// Takes the next whole frame; nothing if none is there.
    pub fn take(&mut self) -> Result<Option<Frame<'_>>, BadFrame> {
        let frame = Frame::first_within(&self.bytes[self.start..self.end], self.body_max)?;
        if let Some(frame) = &frame {
            self.start += frame.size();
        }
        Ok(frame)
    }
}
