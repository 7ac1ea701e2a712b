//! `kubeconfig`: the administrator's access, for whoever may read the API server's folder.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result};
use apiserver::http::{ca::Ca, kubeconfig};

/// For which server.
#[derive(Clone, Debug, clap::Args)]
pub struct KubeconfigArguments {
    /// The API server's folder, with the cluster's CA
    #[arg(long, env = "SAMPAN_DATA_DIR", default_value = "/var/lib/sampan/apiserver", value_name = "FOLDER")]
    data_dir: PathBuf,
    /// How the API server is reached
    #[arg(
        long,
        env = "SAMPAN_KUBECONFIG_SERVER",
        default_value = "https://127.0.0.1:6443",
        value_name = "URL"
    )]
    server: String,
}

/// Prints a new kubeconfig.
pub fn run(arguments: &KubeconfigArguments) -> Result<()> {
    let ca = Ca::existing(&arguments.data_dir).context("the API server makes the CA at its first start")?;
    print!("{}", kubeconfig::issue(&arguments.server, &ca, SystemTime::now())?);
    Ok(())
}
