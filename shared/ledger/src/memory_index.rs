use async_trait::async_trait;

use crate::{
    JobHead, JobIndex, JobsCursor, JobsPage, JobsQuery, LedgerError, MemoryTable, OrderQuery,
};

#[async_trait]
impl JobIndex for MemoryTable {
    async fn jobs(&self, query: &JobsQuery) -> Result<JobsPage, LedgerError> {
        let items = self.items();
        let mut heads: Vec<&JobHead> = items
            .heads
            .values()
            .filter(|head| query.matches(head))
            .filter(|head| {
                let position = JobsCursor::after(head);
                query.after.as_ref().is_none_or(|after| position < *after)
            })
            .collect();
        heads.sort_unstable_by_key(|head| std::cmp::Reverse(JobsCursor::after(head)));
        let more = heads.len() > query.limit;
        let heads: Vec<JobHead> = heads.into_iter().take(query.limit).cloned().collect();
        let next = heads.last().filter(|_| more).map(JobsCursor::after);
        Ok(JobsPage { heads, next })
    }

    async fn open_jobs(
        &self,
        after: Option<&JobsCursor>,
        limit: usize,
    ) -> Result<JobsPage, LedgerError> {
        let items = self.items();
        let mut heads: Vec<&JobHead> = items
            .heads
            .values()
            .filter(|head| head.is_unfinished() && !items.unlisted.contains(&head.job))
            .filter(|head| after.is_none_or(|after| JobsCursor::after(head) > *after))
            .collect();
        heads.sort_unstable_by_key(|head| JobsCursor::after(head));
        let more = heads.len() > limit;
        let heads: Vec<JobHead> = heads.into_iter().take(limit).cloned().collect();
        let next = heads.last().filter(|_| more).map(JobsCursor::after);
        Ok(JobsPage { heads, next })
    }

    async fn jobs_of_order(&self, query: &OrderQuery) -> Result<JobsPage, LedgerError> {
        let items = self.items();
        let is_after = |head: &&JobHead| JobsCursor::after(head) > query.after;
        let heads = items.heads.values().filter(is_after);
        let mut heads: Vec<JobHead> = heads.filter(|head| query.matches(head)).cloned().collect();
        heads.sort_unstable_by_key(JobsCursor::after);
        Ok(JobsPage { heads, next: None })
    }

    async fn generation(&self, dataset: &str) -> Result<u64, LedgerError> {
        let items = self.items();
        Ok(items.generations.get(dataset).copied().unwrap_or(0))
    }
}
