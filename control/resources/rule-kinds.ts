// Kinds that rules of roles may name: those of the reference product, and ours. A rule for another kind is stored, as roles
// move between versions, but its author is told.

const KINDS = `
  user role auth_connector oidc saml github login_rule access_list access_request access_monitoring_rule access_plugin_data
  user_group device bot bot_instance lock token scoped_token oidc_request saml_request github_request connectors plugin
  okta_import_rule okta_assignment
  node auth_server proxy app app_server db db_server db_service db_object db_object_import_rule kube_cluster kube_server
  kube_service windows_desktop windows_desktop_service dynamic_windows_desktop linux_desktop git_server trusted_cluster
  remote_cluster tunnel instance server_info saml_idp_service_provider static_host_user identity_center mcp_server
  session ssh_session session_tracker event audit_query security_report
  cluster_auth_preference cluster_networking_config session_recording_config cluster_name cluster_maintenance_config
  ui_config network_restrictions cluster_alert notification contact installer integration discovery_config
  health_check_config vnet_config user_task crown_jewel billing download autoupdate_config autoupdate_version
  autoupdate_agent_rollout usage connection_diagnostic inference_model inference_policy inference_secret
  cert_authority host_cert jwt database_certificate db_client spiffe_federation workload_identity
  workload_identity_x509_revocation sigstore_policy
`

const KNOWN: ReadonlySet<string> = new Set(['*', ...KINDS.trim().split(/\s+/)])

export function isKnownKind(kind: string): boolean {
  return KNOWN.has(kind)
}
