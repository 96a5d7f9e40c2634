//! Places in an order, as text: `<epoch>-<number>`, the epoch in hexadecimal digits.

/// Reads the epoch and the number.
pub fn parse(text: &str) -> Option<(u64, u64)> {
    let (epoch, number) = text.split_once('-')?;
    let is_plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    Some((parse_epoch(epoch)?, number.parse().ok().filter(|_| is_plain)?))
}

pub fn parse_epoch(text: &str) -> Option<u64> {
    let is_plain = (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_and_nothing_else_is() {
        assert_eq!(parse("18f-42"), Some((0x18f, 42)));
        assert_eq!(parse("0-18446744073709551615"), Some((0, u64::MAX)));
        for bad in ["", "-", "1f", "1f-", "-1", "g-1", "1f-x", "1f-1-2", "1f--1", "1f-+1", "+1f-1", "1 f-1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        for large in ["00000000000000001-1", "1f-99999999999999999999"] {
            assert_eq!(parse(large), None, "{large}");
        }
    }
}
