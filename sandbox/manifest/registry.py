"""Every field that Kubernetes 1.37 has in the objects that a manifest holds, type by type: names and no more.

A type is called as in k8s.io/api; a field that holds another type is `field:Type`, one that holds a list ends in `[]`.
What is made of a field here, the tables say (a row is an implemented field); why one is not implemented, WHY says, and
a row that comes into a table leaves that.  `docs/manifest.md` is written from this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_TYPES = """
Pod: apiVersion kind metadata:ObjectMeta spec:PodSpec status
ObjectMeta: annotations creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers[] generateName
    generation labels managedFields[] name namespace ownerReferences[]:OwnerReference resourceVersion selfLink uid
OwnerReference: apiVersion blockOwnerDeletion controller kind name uid
PodSpec: activeDeadlineSeconds affinity:Affinity automountServiceAccountToken containers[]:Container
    dnsConfig:PodDNSConfig dnsPolicy enableServiceLinks ephemeralContainers[]:EphemeralContainer
    evictionResponders[]:EvictionResponder hostAliases[]:HostAlias hostIPC hostNetwork hostPID hostUsers hostname
    hostnameOverride imagePullSecrets[]:LocalObjectReference initContainers[]:Container nodeName nodeSelector os:PodOS
    overhead preemptionPolicy priority priorityClassName readinessGates[]:PodReadinessGate
    resourceClaims[]:PodResourceClaim resources:ResourceRequirements restartPolicy runtimeClassName schedulerName
    schedulingGates[]:PodSchedulingGate schedulingGroup:PodSchedulingGroup securityContext:PodSecurityContext
    serviceAccount serviceAccountName setHostnameAsFQDN shareProcessNamespace subdomain terminationGracePeriodSeconds
    tolerations[]:Toleration topologySpreadConstraints[]:TopologySpreadConstraint volumes[]:Volume
Affinity: nodeAffinity:NodeAffinity podAffinity:PodAffinity podAntiAffinity:PodAntiAffinity
NodeAffinity: preferredDuringSchedulingIgnoredDuringExecution[]:PreferredSchedulingTerm
    requiredDuringSchedulingIgnoredDuringExecution:NodeSelector
PreferredSchedulingTerm: preference:NodeSelectorTerm weight
NodeSelectorTerm: matchExpressions[]:NodeSelectorRequirement matchFields[]:NodeSelectorRequirement
NodeSelectorRequirement: key operator values[]
NodeSelector: nodeSelectorTerms[]:NodeSelectorTerm
PodAffinity: preferredDuringSchedulingIgnoredDuringExecution[]:WeightedPodAffinityTerm
    requiredDuringSchedulingIgnoredDuringExecution[]:PodAffinityTerm
WeightedPodAffinityTerm: podAffinityTerm:PodAffinityTerm weight
PodAffinityTerm: labelSelector:LabelSelector matchLabelKeys[] mismatchLabelKeys[] namespaceSelector:LabelSelector
    namespaces[] topologyKey
LabelSelector: matchExpressions[]:LabelSelectorRequirement matchLabels
LabelSelectorRequirement: key operator values[]
PodAntiAffinity: preferredDuringSchedulingIgnoredDuringExecution[]:WeightedPodAffinityTerm
    requiredDuringSchedulingIgnoredDuringExecution[]:PodAffinityTerm
Container: args[] command[] env[]:EnvVar envFrom[]:EnvFromSource image imagePullPolicy lifecycle:Lifecycle
    livenessProbe:Probe name ports[]:ContainerPort readinessProbe:Probe resizePolicy[]:ContainerResizePolicy
    resources:ResourceRequirements restartPolicy restartPolicyRules[]:ContainerRestartRule
    securityContext:SecurityContext startupProbe:Probe stdin stdinOnce terminationMessagePath terminationMessagePolicy
    tty volumeDevices[]:VolumeDevice volumeMounts[]:VolumeMount workingDir
EnvVar: name value valueFrom:EnvVarSource
EnvVarSource: configMapKeyRef:ConfigMapKeySelector fieldRef:ObjectFieldSelector fileKeyRef:FileKeySelector
    resourceFieldRef:ResourceFieldSelector secretKeyRef:SecretKeySelector
ConfigMapKeySelector: key name optional
ObjectFieldSelector: apiVersion fieldPath
FileKeySelector: key optional path volumeName
ResourceFieldSelector: containerName divisor resource
SecretKeySelector: key name optional
EnvFromSource: configMapRef:ConfigMapEnvSource prefix secretRef:SecretEnvSource
ConfigMapEnvSource: name optional
SecretEnvSource: name optional
Lifecycle: postStart:LifecycleHandler preStop:LifecycleHandler stopSignal
LifecycleHandler: exec:ExecAction httpGet:HTTPGetAction sleep:SleepAction tcpSocket:TCPSocketAction
ExecAction: command[]
HTTPGetAction: host httpHeaders[]:HTTPHeader path port protocol scheme
HTTPHeader: name value
SleepAction: seconds
TCPSocketAction: host port
Probe: exec:ExecAction failureThreshold grpc:GRPCAction httpGet:HTTPGetAction initialDelaySeconds periodSeconds
    successThreshold tcpSocket:TCPSocketAction terminationGracePeriodSeconds timeoutSeconds
GRPCAction: mode port service
ContainerPort: containerPort hostIP hostPort name protocol
ContainerResizePolicy: resourceName restartPolicy
ResourceRequirements: claims[]:ResourceClaim limits requests
ResourceClaim: name request
ContainerRestartRule: action exitCodes:ContainerRestartRuleOnExitCodes
ContainerRestartRuleOnExitCodes: operator values[]
SecurityContext: allowPrivilegeEscalation appArmorProfile:AppArmorProfile capabilities:Capabilities privileged
    procMount readOnlyRootFilesystem runAsGroup runAsNonRoot runAsUser seLinuxOptions:SELinuxOptions
    seccompProfile:SeccompProfile windowsOptions:WindowsSecurityContextOptions
AppArmorProfile: localhostProfile type
Capabilities: add[] drop[]
SELinuxOptions: level role type user
SeccompProfile: localhostProfile type
WindowsSecurityContextOptions: gmsaCredentialSpec gmsaCredentialSpecName hostProcess runAsUserName
VolumeDevice: devicePath name
VolumeMount: bindMountOptions[] mountPath mountPropagation name readOnly recursiveReadOnly subPath subPathExpr
PodDNSConfig: nameservers[] options[]:PodDNSConfigOption searches[]
PodDNSConfigOption: name value
EphemeralContainer: args[] command[] env[]:EnvVar envFrom[]:EnvFromSource image imagePullPolicy lifecycle:Lifecycle
    livenessProbe:Probe name ports[]:ContainerPort readinessProbe:Probe resizePolicy[]:ContainerResizePolicy
    resources:ResourceRequirements restartPolicy restartPolicyRules[]:ContainerRestartRule
    securityContext:SecurityContext startupProbe:Probe stdin stdinOnce targetContainerName terminationMessagePath
    terminationMessagePolicy tty volumeDevices[]:VolumeDevice volumeMounts[]:VolumeMount workingDir
EvictionResponder: name priority
HostAlias: hostnames[] ip
LocalObjectReference: name
PodOS: name
PodReadinessGate: conditionType
PodResourceClaim: name resourceClaimName resourceClaimTemplateName
PodSchedulingGate: name
PodSchedulingGroup: podGroupName
PodSecurityContext: appArmorProfile:AppArmorProfile fsGroup fsGroupChangePolicy runAsGroup runAsNonRoot runAsUser
    seLinuxChangePolicy seLinuxOptions:SELinuxOptions seccompProfile:SeccompProfile supplementalGroups[]
    supplementalGroupsPolicy sysctls[]:Sysctl windowsOptions:WindowsSecurityContextOptions
Sysctl: name value
Toleration: effect key operator tolerationSeconds value
TopologySpreadConstraint: labelSelector:LabelSelector matchLabelKeys[] maxSkew minDomains nodeAffinityPolicy
    nodeTaintsPolicy topologyKey whenUnsatisfiable
Volume: awsElasticBlockStore:AWSElasticBlockStoreVolumeSource azureDisk:AzureDiskVolumeSource
    azureFile:AzureFileVolumeSource cephfs:CephFSVolumeSource cinder:CinderVolumeSource
    configMap:ConfigMapVolumeSource csi:CSIVolumeSource downwardAPI:DownwardAPIVolumeSource
    emptyDir:EmptyDirVolumeSource ephemeral:EphemeralVolumeSource fc:FCVolumeSource flexVolume:FlexVolumeSource
    flocker:FlockerVolumeSource gcePersistentDisk:GCEPersistentDiskVolumeSource gitRepo:GitRepoVolumeSource
    glusterfs:GlusterfsVolumeSource hostPath:HostPathVolumeSource image:ImageVolumeSource iscsi:ISCSIVolumeSource name
    nfs:NFSVolumeSource persistentVolumeClaim:PersistentVolumeClaimVolumeSource
    photonPersistentDisk:PhotonPersistentDiskVolumeSource portworxVolume:PortworxVolumeSource
    projected:ProjectedVolumeSource quobyte:QuobyteVolumeSource rbd:RBDVolumeSource scaleIO:ScaleIOVolumeSource
    secret:SecretVolumeSource storageos:StorageOSVolumeSource vsphereVolume:VsphereVirtualDiskVolumeSource
AWSElasticBlockStoreVolumeSource: fsType partition readOnly volumeID
AzureDiskVolumeSource: cachingMode diskName diskURI fsType kind readOnly
AzureFileVolumeSource: readOnly secretName shareName
CephFSVolumeSource: monitors[] path readOnly secretFile secretRef:LocalObjectReference user
CinderVolumeSource: fsType readOnly secretRef:LocalObjectReference volumeID
ConfigMapVolumeSource: defaultMode defaultUser items[]:KeyToPath name optional
KeyToPath: key mode path user
CSIVolumeSource: driver fsType nodePublishSecretRef:LocalObjectReference readOnly volumeAttributes
DownwardAPIVolumeSource: defaultMode defaultUser items[]:DownwardAPIVolumeFile
DownwardAPIVolumeFile: fieldRef:ObjectFieldSelector mode path resourceFieldRef:ResourceFieldSelector user
EmptyDirVolumeSource: medium mode sizeLimit
EphemeralVolumeSource: volumeClaimTemplate:PersistentVolumeClaimTemplate
PersistentVolumeClaimTemplate: metadata:ObjectMeta spec:PersistentVolumeClaimSpec
PersistentVolumeClaimSpec: accessModes[] dataSource:TypedLocalObjectReference dataSourceRef:TypedObjectReference
    resources:VolumeResourceRequirements selector:LabelSelector storageClassName volumeAttributesClassName volumeMode
    volumeName
TypedLocalObjectReference: apiGroup kind name
TypedObjectReference: apiGroup kind name namespace
VolumeResourceRequirements: limits requests
FCVolumeSource: fsType lun readOnly targetWWNs[] wwids[]
FlexVolumeSource: driver fsType options readOnly secretRef:LocalObjectReference
FlockerVolumeSource: datasetName datasetUUID
GCEPersistentDiskVolumeSource: fsType partition pdName readOnly
GitRepoVolumeSource: directory repository revision
GlusterfsVolumeSource: endpoints path readOnly
HostPathVolumeSource: path type
ImageVolumeSource: pullPolicy reference
ISCSIVolumeSource: chapAuthDiscovery chapAuthSession fsType initiatorName iqn iscsiInterface lun portals[] readOnly
    secretRef:LocalObjectReference targetPortal
NFSVolumeSource: path readOnly server
PersistentVolumeClaimVolumeSource: claimName readOnly
PhotonPersistentDiskVolumeSource: fsType pdID
PortworxVolumeSource: fsType readOnly volumeID
ProjectedVolumeSource: defaultMode defaultUser sources[]:VolumeProjection
VolumeProjection: clusterTrustBundle:ClusterTrustBundleProjection configMap:ConfigMapProjection
    downwardAPI:DownwardAPIProjection podCertificate:PodCertificateProjection secret:SecretProjection
    serviceAccountToken:ServiceAccountTokenProjection
ClusterTrustBundleProjection: labelSelector:LabelSelector name optional path signerName user
ConfigMapProjection: items[]:KeyToPath name optional
DownwardAPIProjection: items[]:DownwardAPIVolumeFile
PodCertificateProjection: certificateChainPath credentialBundlePath keyPath keyType maxExpirationSeconds signerName
    user userAnnotations
SecretProjection: items[]:KeyToPath name optional
ServiceAccountTokenProjection: audience expirationSeconds path user
QuobyteVolumeSource: group readOnly registry tenant user volume
RBDVolumeSource: fsType image keyring monitors[] pool readOnly secretRef:LocalObjectReference user
ScaleIOVolumeSource: fsType gateway protectionDomain readOnly secretRef:LocalObjectReference sslEnabled storageMode
    storagePool system volumeName
SecretVolumeSource: defaultMode defaultUser items[]:KeyToPath optional secretName
StorageOSVolumeSource: fsType readOnly secretRef:LocalObjectReference volumeName volumeNamespace
VsphereVirtualDiskVolumeSource: fsType storagePolicyID storagePolicyName volumePath
PersistentVolumeClaim: apiVersion kind metadata:ObjectMeta spec:PersistentVolumeClaimSpec status
ConfigMap: apiVersion binaryData data immutable kind metadata:ObjectMeta
Secret: apiVersion data immutable kind metadata:ObjectMeta stringData type
"""


def _parsed(text: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Each type, with its fields as they are written, and what they hold."""
    for line in text.replace("\n    ", " ").split("\n"):
        name, _, fields = line.partition(": ")
        if name:
            yield name, [(field, kind) for field, _, kind in (each.partition(":") for each in fields.split())]


_PARSED = dict(_parsed(_TYPES))

# By type: its fields, each with the type that it holds, or "" for a scalar, a list or a map of them, or anything.
FIELDS: Mapping[str, Mapping[str, str]] = {
    **{name: {field.removesuffix("[]"): kind for field, kind in fields} for name, fields in _PARSED.items()},
    "VolumeResourceList": {"storage": ""},  # in Kubernetes a map with this one name in it
}

# The fields that hold a list, as `Type.field`.
LISTS = frozenset(
    f"{name}.{field.removesuffix('[]')}"
    for name, fields in _PARSED.items()
    for field, _ in fields
    if field.endswith("[]")
)

# Of objects of their own, which are not implemented.
KINDS = ("ConfigMap", "Secret")

_STORAGE = "it is storage of a cloud or a cluster; mount it on the host and use a hostPath"
_NEEDS_A_CLIENT = "mount it on the host and use a hostPath"
_DEVICES = "there are no drivers of devices"
_NO_SCHEDULER = "there is no scheduler"
_WINDOWS = "it is of Windows"

# Reasons and cures, by `Type.field`.  A field that is not implemented and not in here will be.
WHY: Mapping[str, str] = {
    "Container.volumeDevices": "there are no block volumes; use a hostPath of type BlockDevice, privileged",
    "GRPCAction.mode": "in Kubernetes it is alpha",
    "HTTPGetAction.protocol": "in Kubernetes it is alpha; use `scheme`",
    "EmptyDirVolumeSource.mode": "in Kubernetes it is alpha; use an init container with chmod, or fsGroup",
    "ObjectMeta.finalizers": "there is nobody to remove them",
    "PersistentVolumeClaimSpec.dataSource": "a claim begins empty; fill it in an init container",
    "PersistentVolumeClaimSpec.dataSourceRef": "a claim begins empty; fill it in an init container",
    "PersistentVolumeClaimSpec.selector": "there are no volumes to choose from; leave it out",
    "PersistentVolumeClaimSpec.volumeAttributesClassName": "there are no classes; leave it out",
    "PodSecurityContext.windowsOptions": _WINDOWS,
    "PodSpec.ephemeralContainers": "they cannot be set on create",
    "PodSpec.evictionResponders": "in Kubernetes it is alpha",
    "PodSpec.overhead": "there is one runtime, which needs none; leave it out",
    "PodSpec.resourceClaims": _DEVICES,
    "PodSpec.runtimeClassName": "there is one runtime; leave it out",
    "PodSpec.schedulingGates": f"{_NO_SCHEDULER} to hold back; leave it out",
    "PodSpec.schedulingGroup": f"{_NO_SCHEDULER}; leave it out",
    "ResourceRequirements.claims": _DEVICES,
    "SecurityContext.windowsOptions": _WINDOWS,
    "VolumeMount.bindMountOptions": "in Kubernetes it is alpha",
    "Volume.csi": "there are no drivers of storage; use a persistentVolumeClaim",
    "Volume.flexVolume": "there are no drivers of storage; use a persistentVolumeClaim",
    "Volume.gitRepo": "Kubernetes has removed it; clone in an init container, into an emptyDir",
    **{
        f"Volume.{name}": _STORAGE
        for name in (
            *("awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "flocker", "gcePersistentDisk"),
            *("glusterfs", "photonPersistentDisk", "portworxVolume", "quobyte", "rbd", "scaleIO", "storageos"),
            "vsphereVolume",
        )
    },
    **{f"Volume.{name}": _NEEDS_A_CLIENT for name in ("fc", "iscsi", "nfs")},
}
