use smallvec::SmallVec;

const BITS: usize = u64::BITS as usize;

/// A set of columns, by index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnSet(SmallVec<[u64; 1]>);

impl ColumnSet {
    /// Returns the set of the columns below `count`.
    pub fn first(count: usize) -> Self {
        (0..count).collect()
    }

    /// Returns the set of these columns as a stored mask has them: column 0 is the least bit of the first byte.
    pub(super) fn from_mask(mask: &[u8]) -> Self {
        let has = |column: &usize| mask[column / 8] >> (column % 8) & 1 == 1;
        (0..mask.len() * 8).filter(has).collect()
    }

    /// Returns the mask of the columns below `count`: column 0 is the least bit of the first byte.
    pub fn to_mask(&self, count: usize) -> Vec<u8> {
        let mut mask = vec![0; count.div_ceil(8)];
        for column in self.iter().take_while(|column| *column < count) {
            mask[column / 8] |= 1 << (column % 8);
        }
        mask
    }

    /// Adds a column.
    pub fn insert(&mut self, column: usize) {
        let word = column / BITS;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (column % BITS);
    }

    /// Returns whether the set has this column.
    pub fn contains(&self, column: usize) -> bool {
        let word = self.0.get(column / BITS);
        word.is_some_and(|word| word >> (column % BITS) & 1 == 1)
    }

    /// Returns whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Returns the columns, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let words = self.0.iter().enumerate();
        words.flat_map(|(place, word)| {
            let bits = (0..BITS).filter(move |bit| word >> bit & 1 == 1);
            bits.map(move |bit| place * BITS + bit)
        })
    }
}

impl FromIterator<usize> for ColumnSet {
    fn from_iter<T: IntoIterator<Item = usize>>(columns: T) -> Self {
        let mut set = Self::default();
        for column in columns {
            set.insert(column);
        }
        set
    }
}
