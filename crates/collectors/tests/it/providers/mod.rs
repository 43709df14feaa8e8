//! Collectors against stand-ins of their providers, which speak the documented contracts.

/// Anthropic.
mod anthropic;
/// Every fault, for every kind of bucket.
mod bucket_faults;
/// Collections that are cancelled.
mod cancels;
/// Cloudflare.
mod cloudflare;
/// Files of clouds, in folders and buckets.
mod exports;
/// Every fault, for every collector.
pub(crate) mod faults;
/// A collector, a stand-in and a store.
pub(crate) mod given;
/// IONOS Cloud.
mod ionos;
/// OpenAI.
mod openai;
/// OVHcloud.
mod ovhcloud;
/// How much of the disk a billing period takes.
mod room;
/// What holds for all of them.
mod runner;
/// Servers that stand in for providers.
pub(crate) mod stand_in;
/// Supabase.
mod supabase;
/// Vercel.
mod vercel;
/// Wasabi.
mod wasabi;
/// What is logged.
pub(crate) mod watched;
