// A study on a cluster: an array of jobs of Slurm, each a worker that takes runs of the study's folder until none is
// left. What a job is asked to stop in goes on from its checkpoint when Slurm starts it again.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "sweep/study_folder.h"

namespace effllm {

struct SlurmArray {
  int jobs = 1, threads = 1;         // workers, and the threads of each
  std::vector<std::string> worker;   // the words of a worker's command, the program first
  std::vector<std::string> options;  // further ones of sbatch
};

// What a job runs: the worker; where that ends with checkpoints (exit code 75), the job is put into the queue again.
std::string slurm_script(const SlurmArray& array);
// Writes it to FOLDER/slurm/worker.sh and gives it to sbatch; the number of the array, once sbatch ends. ConfigError
// where there is no sbatch, or it refuses, with what it says.
std::string submit(const StudyFolder& folder, const SlurmArray& array);

}  // namespace effllm
