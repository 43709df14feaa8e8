//! Limits of levels, such as stored bytes, whose days must not be added up.

use collectors::providers::is_level;
use domain::ProviderLimit;
use domain::provider_limit::Reading;

/// Returns a warning for each limit of a level that is read as the sum of its days.
pub fn summed_levels(limits: &[ProviderLimit]) -> Vec<String> {
    let is_summed = |limit: &&ProviderLimit| {
        let (provider, resource) = (limit.provider.trim().to_lowercase(), limit.resource.trim().to_lowercase());
        limit.reading == Reading::Sum && is_level(&provider, &resource)
    };
    let warning = |limit: &ProviderLimit| {
        let ProviderLimit { provider, resource, .. } = limit;
        format!("the limit of {provider} {resource} adds up the days of a level; give it `reading = \"last\"`")
    };
    limits.iter().filter(is_summed).map(warning).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sum_of_a_level_is_warned_about() {
        let warned = |resource: &str, more: &str| {
            let text = format!("provider = 'Wasabi'\nresource = '{resource}'\ncap = 1\nunit = 'TB'\n{more}");
            summed_levels(&[toml::from_str(&text).expect("a limit")]).len()
        };
        assert_eq!((warned("bucket_bytes", ""), warned("Bucket_Bytes", "reading = 'sum'")), (1, 1));
        assert_eq!((warned("bucket_bytes", "reading = 'last'"), warned("bucket_bytes", "reading = 'max'")), (0, 0));
        assert_eq!(warned("upload_bytes", ""), 0);
    }
}
