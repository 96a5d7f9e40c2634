//! Keeps large values out of memory: replaces those that are beyond a limit by nil, without reading
//! them into memory.

use std::io;

use bytes::BytesMut;

/// The longest line of the protocol, in bytes. Values are in bulk strings, not in lines.
const MAX_LINE: usize = 64 * 1_024;

/// The bytes of an array besides one value of the largest size: the topic of a message.
const ROOM: u64 = 64 * 1_024;

/// The most values of one array. An entry of a stream is one array of its names and values.
const MOST_VALUES: u64 = 64 * 1_024;

/// The most values of one answer, in all its arrays.
const MOST_IN_ANSWER: u64 = 16 * MOST_VALUES;

/// How deep arrays may be nested.
const MOST_DEPTH: usize = 32;

/// What the protocol has instead of a value that is too large.
const NIL: &[u8] = b"$-1\r\n";

/// Passes on the bytes of a server in `out`.
#[derive(Debug)]
pub struct Filter {
    most: u64,
    /// The beginning of a line that has not ended.
    line: Vec<u8>,
    /// The rest of a bulk string with its line end, and whether it is passed on.
    body: (u64, bool),
    /// The arrays that have begun and not ended, the innermost one last.
    open: Vec<Array>,
    /// The values of the current answer so far.
    values: u64,
    pub out: BytesMut,
}

/// An array, a map or another value that contains values.
#[derive(Debug)]
struct Array {
    /// The values that have not ended.
    rest: u64,
    /// The bytes of its values.
    bytes: u64,
    /// Whether it was replaced by nil.
    is_dropped: bool,
}

impl Filter {
    /// `most` is the largest bulk string in bytes.
    pub fn new(most: u64) -> Filter {
        Filter { most, line: Vec::new(), body: (0, true), open: Vec::new(), values: 0, out: BytesMut::new() }
    }

    pub fn feed(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (rest, passes) = &mut self.body;
            if *rest > 0 {
                let length = usize::try_from(*rest).unwrap_or(usize::MAX).min(bytes.len());
                let (now, later) = bytes.split_at(length);
                if *passes {
                    self.out.extend_from_slice(now);
                }
                *rest -= length as u64;
                bytes = later;
                if *rest == 0 {
                    self.end_value();
                }
                continue;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
            let (now, later) = bytes.split_at(end);
            self.line.extend_from_slice(now);
            bytes = later;
            if self.line.len() > MAX_LINE {
                return Err(io::Error::other("the server sent a line that is too long: is it a Redis server?"));
            }
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.end_line(&line)?;
            }
        }
        Ok(())
    }

    fn end_line(&mut self, line: &[u8]) -> io::Result<()> {
        self.values += u64::from(!self.is_dropped());
        if self.values > MOST_IN_ANSWER {
            return Err(io::Error::other(format!("the server sent an answer with more than {MOST_IN_ANSWER} values")));
        }
        match line.split_first() {
            Some((b'$' | b'=' | b'!', length)) => self.string(line, number(length)?),
            Some((b'*' | b'~' | b'>', count)) => self.array(line, number(count)?)?,
            Some((b'%', count)) => self.array(line, number(count)?.map(|count| count.saturating_mul(2)))?,
            // The value that the attributes describe follows them.
            Some((b'|', count)) => {
                self.array(line, number(count)?.map(|count| count.saturating_mul(2).saturating_add(1)))?;
            }
            _ => {
                let fits = self.add(line.len() as u64);
                self.pass(line, fits);
                self.end_value();
            }
        }
        Ok(())
    }

    fn string(&mut self, line: &[u8], length: Option<u64>) {
        let fits = length.is_none_or(|length| length <= self.most && self.add(length));
        self.pass(line, fits);
        match length {
            Some(length) => self.body = (length.saturating_add(2), fits && !self.is_dropped()),
            None => self.end_value(),
        }
    }

    fn array(&mut self, line: &[u8], count: Option<u64>) -> io::Result<()> {
        let count = count.unwrap_or_default();
        let fits = count <= MOST_VALUES;
        self.pass(line, fits);
        if count == 0 {
            self.end_value();
        } else if self.open.len() < MOST_DEPTH {
            self.open.push(Array { rest: count, bytes: 0, is_dropped: !fits || self.is_dropped() });
        } else {
            return Err(io::Error::other(format!("the server sent arrays that are nested deeper than {MOST_DEPTH}")));
        }
        Ok(())
    }

    /// Whether the innermost array is not passed on.
    fn is_dropped(&self) -> bool {
        self.open.last().is_some_and(|array| array.is_dropped)
    }

    /// Adds the bytes of a value to its array. Returns whether it fits there.
    fn add(&mut self, bytes: u64) -> bool {
        let most = self.most.saturating_add(ROOM);
        self.open.last_mut().is_none_or(|array| {
            array.bytes = array.bytes.saturating_add(bytes);
            array.bytes <= most
        })
    }

    /// Passes on the first line of a value, or nil instead of it.
    fn pass(&mut self, line: &[u8], fits: bool) {
        if !self.is_dropped() {
            self.out.extend_from_slice(if fits { line } else { NIL });
        }
    }

    /// A value has ended, and so have the arrays of which it is the last one.
    fn end_value(&mut self) {
        while let Some(array) = self.open.last_mut() {
            array.rest -= 1;
            if array.rest > 0 {
                return;
            }
            self.open.pop();
        }
        self.values = 0;
    }
}

/// A number of the protocol. `None` for a negative one, which stands for nil.
fn number(text: &[u8]) -> io::Result<Option<u64>> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.trim_end().parse::<i64>().ok());
    let number =
        number.ok_or_else(|| io::Error::other("the server sent a length that is not a number: is it Redis?"))?;
    Ok(u64::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(most: u64, bytes: &[u8], chunk: usize) -> Vec<u8> {
        let mut filter = Filter::new(most);
        bytes.chunks(chunk).for_each(|part| filter.feed(part).unwrap());
        assert_eq!((filter.open.len(), filter.values), (0, 0), "every array has ended");
        filter.out.to_vec()
    }

    #[test]
    fn a_large_string_becomes_nil_wherever_the_reads_end() {
        let sent = b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$4\r\n\r\n$9\r\n+OK\r\n>1\r\n$5\r\nlarge\r\n:1\r\n$0\r\n\r\n";
        let expected = b"*3\r\n$-1\r\n$4\r\nnews\r\n$4\r\n\r\n$9\r\n+OK\r\n>1\r\n$-1\r\n:1\r\n$0\r\n\r\n";
        for chunk in 1..=sent.len() {
            assert_eq!(filtered(4, sent, chunk), expected, "{chunk}");
        }
    }

    #[test]
    fn a_large_string_uses_no_memory() {
        let mut filter = Filter::new(4);
        filter.feed(b"$1000000000\r\n").unwrap();
        (0..1_000).for_each(|_| filter.feed(&[b'x'; 1_000]).unwrap());
        assert_eq!((&filter.out[..], filter.line.len()), (NIL, 0));
    }

    #[test]
    fn the_values_of_an_array_fit_together() {
        let most = ROOM / 2;
        let string = |length: u64| format!("${length}\r\n{}\r\n", "x".repeat(length as usize));
        // The limit is `most + ROOM`: three of these fit.
        let sent = |count: u64| format!("*2\r\n:1\r\n*{count}\r\n{}", string(most).repeat(count as usize));
        let filtered = |sent: &str| String::from_utf8(filtered(most, sent.as_bytes(), 1_000)).unwrap();
        assert_eq!(filtered(&sent(3)), sent(3));
        let cut = filtered(&sent(4));
        assert!(cut.ends_with("\r\n$-1\r\n") && cut.matches("$-1").count() == 1, "the last one became nil");
        // Each array has a limit of its own.
        let two = format!("*2\r\n{}{}", sent(3), sent(3));
        assert_eq!(filtered(&two), two);
    }

    #[test]
    fn an_array_with_too_many_values_becomes_nil() {
        let array = |count: u64| format!("*{count}\r\n{}", ":1\r\n".repeat(count as usize));
        let sent = format!("%1\r\n+a\r\n*2\r\n{}{}+OK\r\n", array(MOST_VALUES + 1), array(MOST_VALUES));
        let expected = format!("%1\r\n+a\r\n*2\r\n$-1\r\n{}+OK\r\n", array(MOST_VALUES));
        assert!(filtered(1 << 20, sent.as_bytes(), 1_000) == expected.as_bytes());
        // Also what is nested in it.
        let nested = format!(
            "*{}\r\n{}",
            MOST_VALUES + 1,
            "*2\r\n$1\r\na\r\n|1\r\n+a\r\n+b\r\n$9\r\n123456789\r\n".repeat(MOST_VALUES as usize + 1)
        );
        assert_eq!(filtered(4, nested.as_bytes(), 1_000), NIL);
    }

    #[test]
    fn a_long_line_too_many_values_and_deep_arrays_are_errors() {
        assert!(Filter::new(4).feed(&vec![b'+'; MAX_LINE + 1]).is_err());
        assert!(Filter::new(4).feed(&vec![b'+'; MAX_LINE]).is_ok());
        let many = |arrays: u64| {
            let array = format!("*{}\r\n{}", MOST_VALUES - 1, ":1\r\n".repeat(MOST_VALUES as usize - 1));
            Filter::new(4).feed(format!("*1000\r\n{}", array.repeat(arrays as usize)).as_bytes())
        };
        assert!(many(15).is_ok() && many(16).is_err());
        let deep = |depth: usize| Filter::new(4).feed("*1\r\n".repeat(depth).as_bytes());
        assert!(deep(MOST_DEPTH).is_ok() && deep(MOST_DEPTH + 1).is_err());
        assert!(Filter::new(4).feed(b"*?\r\n").is_err());
    }
}
