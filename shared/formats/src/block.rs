//! Finds bytes in blocks of 64, in a form that the compiler turns into vector instructions.

/// Number of bytes in a block, one for each bit of a mask.
pub(crate) const BLOCK: usize = 64;

/// Returns a mask with a bit for each byte that `is` accepts, the lowest bit for the first byte. `is` should have no
/// branches: `|` rather than `||`.
#[inline]
pub(crate) fn mask(block: &[u8; BLOCK], is: impl Fn(u8) -> bool) -> u64 {
    // Moves the lowest bits of eight bytes next to each other, into the highest byte of the product.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let mut flags = *block;
    for byte in &mut flags {
        *byte = u8::from(is(*byte));
    }
    let (eights, _) = flags.as_chunks::<8>();
    eights.iter().rev().fold(0, |mask, eight| {
        (mask << 8) | (u64::from_le_bytes(*eight).wrapping_mul(GATHER) >> 56)
    })
}

/// Returns a mask with a bit set wherever the number of set bits so far, including that one, is odd.
#[inline]
pub(crate) fn odd(mut mask: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        mask ^= mask << shift;
    }
    mask
}

/// The places of the bits of a mask, from the lowest.
pub(crate) struct Bits(pub(crate) u64);

impl Iterator for Bits {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn masks_have_a_bit_for_each_byte(bytes in prop::collection::vec(0_u8..4, BLOCK)) {
            let block: [u8; BLOCK] = bytes.as_slice().try_into().unwrap();
            let places: Vec<usize> = Bits(mask(&block, |byte| byte == 3)).collect();
            let expected: Vec<usize> = (0..BLOCK).filter(|at| bytes[*at] == 3).collect();
            prop_assert_eq!(places, expected);
        }

        #[test]
        fn odd_counts_the_bits_before(bits: u64) {
            let up_to = |at: u32| bits << (63 - at);
            for at in 0..64 {
                prop_assert_eq!(odd(bits) >> at & 1 == 1, up_to(at).count_ones() % 2 == 1);
            }
        }
    }
}
