//! The custom resources of well-known projects, and where they hold their pods.
//!
//! Read from the `CustomResourceDefinition`s and Go types of each project; `tests/presets` has the relevant part of
//! them. A path that a version of a project does not have is harmless: nothing is there.

use schemars::JsonSchema;
use serde::Deserialize;

use super::shape::Leaf;

/// A project whose custom resources are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Argo Rollouts: Rollout, Experiment, and the jobs of `AnalysisTemplate`, `ClusterAnalysisTemplate`, `AnalysisRun`.
    ArgoRollouts,
    /// Argo Workflows: Workflow, `WorkflowTemplate`, `ClusterWorkflowTemplate`, `CronWorkflow`.
    ArgoWorkflows,
    /// `JobSet`.
    Jobset,
    /// Knative Serving: Service, Configuration, Revision.
    Knative,
    /// Kubeflow Trainer: `TrainingRuntime`, `ClusterTrainingRuntime`; and the jobs of the Training Operator: `TFJob`,
    /// `PyTorchJob`, `MPIJob`, `XGBoostJob`, `PaddleJob`, `JAXJob`.
    KubeflowTrainer,
    /// `KubeRay`: `RayCluster`, `RayJob`, `RayService`, `RayCronJob`.
    Kuberay,
    /// `LeaderWorkerSet`, `DisaggregatedSet`.
    Leaderworkerset,
    /// `OpenKruise`: `CloneSet`, its `StatefulSet` and `DaemonSet`, `BroadcastJob`, `AdvancedCronJob`, `SidecarSet`,
    /// `UnitedDeployment`, `EphemeralJob`.
    Openkruise,
    /// Spark operator: the pod templates, init containers and sidecars of `SparkApplication`,
    /// `ScheduledSparkApplication`, `SparkConnect`; not their `image` texts.
    SparkOperator,
    /// Tekton Pipelines: Task, `ClusterTask`, `TaskRun`, Pipeline, `PipelineRun`.
    Tekton,
    /// Volcano: Job, `CronJob`, `JobTemplate`.
    Volcano,
}

/// One kind of custom resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The API group.
    pub group: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// Where its pods are.
    pub paths: Vec<(String, Leaf)>,
}

/// What holds pods in some place: the ends of paths.
type Holder = &'static [(&'static str, Leaf)];

/// Kinds that hold pods in the same places.
struct Row {
    preset: Preset,
    group: &'static str,
    kinds: &'static [&'static str],
    places: &'static [(&'static str, Holder)],
}

const TEMPLATE: Holder = &[("", Leaf::Template)];
const SPEC: Holder = &[("", Leaf::Spec)];
const CONTAINER: Holder = &[("", Leaf::Container)];

/// `Template` of `pkg/apis/workflow/v1alpha1/workflow_types.go` in Argo Workflows.
const ARGO_TEMPLATE: Holder = &[
    ("/container", Leaf::Container),
    ("/script", Leaf::Container),
    ("/initContainers/*", Leaf::Container),
    ("/sidecars/*", Leaf::Container),
    ("/containerSet/containers/*", Leaf::Container),
];

/// `RayClusterSpec` of `ray-operator/apis/ray/v1/raycluster_types.go` in `KubeRay`.
const RAY_CLUSTER: Holder = &[
    ("/headGroupSpec/template", Leaf::Template),
    ("/workerGroupSpecs/*/template", Leaf::Template),
    ("/autoscalerOptions", Leaf::Container),
    ("/historyServerOptions/collectorOptions", Leaf::Container),
];

/// `SparkPodSpec` of `api/v1beta2/sparkapplication_types.go` in the Spark operator.
const SPARK_POD: Holder = &[
    ("/template", Leaf::Template),
    ("/initContainers/*", Leaf::Container),
    ("/sidecars/*", Leaf::Container),
];

/// `TaskSpec` of `pkg/apis/pipeline/v1/task_types.go` in Tekton Pipelines.
const TEKTON_TASK: Holder = &[
    ("/steps/*", Leaf::Container),
    ("/sidecars/*", Leaf::Container),
    ("/stepTemplate", Leaf::Container),
];

const fn row(
    preset: Preset,
    group: &'static str,
    kinds: &'static [&'static str],
    places: &'static [(&'static str, Holder)],
) -> Row {
    Row {
        preset,
        group,
        kinds,
        places,
    }
}

#[rustfmt::skip]
const TABLE: &[Row] = &[
    row(Preset::ArgoRollouts, "argoproj.io", &["Rollout"], &[("/spec/template", TEMPLATE)]),
    row(Preset::ArgoRollouts, "argoproj.io", &["Experiment"], &[("/spec/templates/*/template", TEMPLATE)]),
    row(Preset::ArgoRollouts, "argoproj.io", &["AnalysisTemplate", "ClusterAnalysisTemplate", "AnalysisRun"], &[
        ("/spec/metrics/*/provider/job/spec/template", TEMPLATE),
    ]),

    row(Preset::ArgoWorkflows, "argoproj.io", &["Workflow", "WorkflowTemplate", "ClusterWorkflowTemplate"], &[
        ("/spec/templates/*", ARGO_TEMPLATE),
        ("/spec/templates/*/steps/*/*/inline", ARGO_TEMPLATE),
        ("/spec/templates/*/dag/tasks/*/inline", ARGO_TEMPLATE),
        ("/spec/templateDefaults", ARGO_TEMPLATE),
        ("/spec/executorPlugins/*/spec/sidecar/container", CONTAINER),
    ]),
    row(Preset::ArgoWorkflows, "argoproj.io", &["CronWorkflow"], &[
        ("/spec/workflowSpec/templates/*", ARGO_TEMPLATE),
        ("/spec/workflowSpec/templates/*/steps/*/*/inline", ARGO_TEMPLATE),
        ("/spec/workflowSpec/templates/*/dag/tasks/*/inline", ARGO_TEMPLATE),
        ("/spec/workflowSpec/templateDefaults", ARGO_TEMPLATE),
        ("/spec/workflowSpec/executorPlugins/*/spec/sidecar/container", CONTAINER),
    ]),

    row(Preset::Jobset, "jobset.x-k8s.io", &["JobSet"], &[("/spec/replicatedJobs/*/template/spec/template", TEMPLATE)]),

    row(Preset::Knative, "serving.knative.dev", &["Service", "Configuration"], &[("/spec/template", TEMPLATE)]),
    row(Preset::Knative, "serving.knative.dev", &["Revision"], &[("/spec", SPEC)]),

    row(Preset::KubeflowTrainer, "trainer.kubeflow.org", &["TrainingRuntime", "ClusterTrainingRuntime"], &[
        ("/spec/template/spec/replicatedJobs/*/template/spec/template", TEMPLATE),
    ]),
    row(Preset::KubeflowTrainer, "kubeflow.org", &["TFJob"], &[("/spec/tfReplicaSpecs/*/template", TEMPLATE)]),
    row(Preset::KubeflowTrainer, "kubeflow.org", &["PyTorchJob"], &[("/spec/pytorchReplicaSpecs/*/template", TEMPLATE)]),
    row(Preset::KubeflowTrainer, "kubeflow.org", &["MPIJob"], &[("/spec/mpiReplicaSpecs/*/template", TEMPLATE)]),
    row(Preset::KubeflowTrainer, "kubeflow.org", &["XGBoostJob"], &[("/spec/xgbReplicaSpecs/*/template", TEMPLATE)]),
    row(Preset::KubeflowTrainer, "kubeflow.org", &["PaddleJob"], &[("/spec/paddleReplicaSpecs/*/template", TEMPLATE)]),
    row(Preset::KubeflowTrainer, "kubeflow.org", &["JAXJob"], &[("/spec/jaxReplicaSpecs/*/template", TEMPLATE)]),

    row(Preset::Kuberay, "ray.io", &["RayCluster"], &[("/spec", RAY_CLUSTER)]),
    row(Preset::Kuberay, "ray.io", &["RayService"], &[("/spec/rayClusterConfig", RAY_CLUSTER)]),
    row(Preset::Kuberay, "ray.io", &["RayJob"], &[
        ("/spec/rayClusterSpec", RAY_CLUSTER),
        ("/spec/submitterPodTemplate", TEMPLATE),
    ]),
    row(Preset::Kuberay, "ray.io", &["RayCronJob"], &[
        ("/spec/jobTemplate/rayClusterSpec", RAY_CLUSTER),
        ("/spec/jobTemplate/submitterPodTemplate", TEMPLATE),
    ]),

    row(Preset::Leaderworkerset, "leaderworkerset.x-k8s.io", &["LeaderWorkerSet"], &[
        ("/spec/leaderWorkerTemplate/leaderTemplate", TEMPLATE),
        ("/spec/leaderWorkerTemplate/workerTemplate", TEMPLATE),
    ]),
    row(Preset::Leaderworkerset, "disaggregatedset.x-k8s.io", &["DisaggregatedSet"], &[
        ("/spec/roles/*/spec/leaderWorkerTemplate/leaderTemplate", TEMPLATE),
        ("/spec/roles/*/spec/leaderWorkerTemplate/workerTemplate", TEMPLATE),
    ]),

    row(Preset::Openkruise, "apps.kruise.io", &["CloneSet", "StatefulSet", "DaemonSet", "BroadcastJob"], &[
        ("/spec/template", TEMPLATE),
    ]),
    row(Preset::Openkruise, "apps.kruise.io", &["AdvancedCronJob"], &[
        ("/spec/template/jobTemplate/spec/template", TEMPLATE),
        ("/spec/template/broadcastJobTemplate/spec/template", TEMPLATE),
    ]),
    row(Preset::Openkruise, "apps.kruise.io", &["SidecarSet"], &[("/spec", SPEC)]),
    row(Preset::Openkruise, "apps.kruise.io", &["UnitedDeployment"], &[
        ("/spec/template/statefulSetTemplate/spec/template", TEMPLATE),
        ("/spec/template/advancedStatefulSetTemplate/spec/template", TEMPLATE),
        ("/spec/template/cloneSetTemplate/spec/template", TEMPLATE),
        ("/spec/template/deploymentTemplate/spec/template", TEMPLATE),
    ]),
    row(Preset::Openkruise, "apps.kruise.io", &["EphemeralJob"], &[("/spec/template", SPEC)]),

    row(Preset::SparkOperator, "sparkoperator.k8s.io", &["SparkApplication"], &[
        ("/spec/driver", SPARK_POD),
        ("/spec/executor", SPARK_POD),
    ]),
    row(Preset::SparkOperator, "sparkoperator.k8s.io", &["ScheduledSparkApplication"], &[
        ("/spec/template/driver", SPARK_POD),
        ("/spec/template/executor", SPARK_POD),
    ]),
    row(Preset::SparkOperator, "sparkoperator.k8s.io", &["SparkConnect"], &[
        ("/spec/server/template", TEMPLATE),
        ("/spec/executor/template", TEMPLATE),
    ]),

    row(Preset::Tekton, "tekton.dev", &["Task", "ClusterTask"], &[("/spec", TEKTON_TASK)]),
    row(Preset::Tekton, "tekton.dev", &["TaskRun"], &[("/spec/taskSpec", TEKTON_TASK)]),
    row(Preset::Tekton, "tekton.dev", &["Pipeline"], &[
        ("/spec/tasks/*/taskSpec", TEKTON_TASK),
        ("/spec/finally/*/taskSpec", TEKTON_TASK),
    ]),
    row(Preset::Tekton, "tekton.dev", &["PipelineRun"], &[
        ("/spec/pipelineSpec/tasks/*/taskSpec", TEKTON_TASK),
        ("/spec/pipelineSpec/finally/*/taskSpec", TEKTON_TASK),
    ]),

    row(Preset::Volcano, "batch.volcano.sh", &["Job"], &[("/spec/tasks/*/template", TEMPLATE)]),
    row(Preset::Volcano, "batch.volcano.sh", &["CronJob"], &[("/spec/jobTemplate/spec/tasks/*/template", TEMPLATE)]),
    row(Preset::Volcano, "flow.volcano.sh", &["JobTemplate"], &[("/spec/tasks/*/template", TEMPLATE)]),
];

impl Preset {
    /// The kinds of the project.
    pub fn resources(self) -> impl Iterator<Item = Resource> {
        let rows = TABLE.iter().filter(move |row| row.preset == self);
        rows.flat_map(|row| {
            row.kinds.iter().map(|kind| Resource {
                group: row.group,
                kind,
                paths: paths(row.places),
            })
        })
    }
}

fn paths(places: &[(&str, Holder)]) -> Vec<(String, Leaf)> {
    let ends = |(place, holder): &(&str, Holder)| {
        let place = (*place).to_owned();
        let path = move |(end, leaf): &(&str, Leaf)| (place.clone() + end, *leaf);
        holder.iter().map(path)
    };
    places.iter().flat_map(ends).collect()
}
