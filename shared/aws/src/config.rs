use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};

/// Clients' settings from the environment, with bounded times and retries.
pub async fn connect() -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .operation_attempt_timeout(Duration::from_secs(20))
        .operation_timeout(Duration::from_mins(1))
        .build();
    aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(5))
        .load()
        .await
}

/// A client for S3. An endpoint of one's own has buckets in the path, not in host names.
pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let own_endpoint =
        config.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
    let config = aws_sdk_s3::config::Builder::from(config)
        .force_path_style(own_endpoint)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}
