// The queue of batches. START copies the registers into one of two sets, used in turn; each stage of
// each lane walks through the sets by itself. After an error or RESET the lanes halt, and once the bus
// is quiet they are cleared, so that no transfer is ever left open.
`default_nettype none
module batches #(
  parameter int PORTS = 1
) (
  input  wire               clk,
  input  wire               rst,
  input  wire               start,
  input  wire               reset,
  input  wire               bad,          // what START would queue cannot run
  output wire               idle,
  output wire               running,
  output wire               full,
  output logic [3:0]        error,
  output logic [7:0]        done,
  output logic              over,         // one cycle: a batch has ended
  output logic              zero,         // one cycle: a reset is complete
  // lanes
  output logic              load,         // copy the registers into set
  output logic              set,
  output logic              launch,
  output logic              halt,
  output logic              clear,
  input  wire  [PORTS-1:0]  quiet,
  input  wire  [PORTS-1:0]  finished,
  input  wire  [PORTS-1:0][2:0] failed
);
  logic [1:0] used;                       // batches queued or running
  logic halting, halted, resetting;
  logic [PORTS-1:0][1:0] finishes;        // batches that only this lane has finished
  wire [PORTS-1:0] has_finished;
  for (genvar p = 0; p < PORTS; p++) begin : lanes
    assign has_finished[p] = finishes[p] != 0;
  end
  wire [PORTS-1:0][2:0] causes = failed;
  logic [2:0] cause;
  always_comb begin
    cause = 0;
    for (int p = 0; p < PORTS; p++) cause = cause | causes[p];
  end
  // The lanes are reset a cycle after clear, and must not begin anything before.
  logic cleared;
  always_ff @(posedge clk) cleared <= clear;
  wire closed = halting || clear || cleared;
  always_ff @(posedge clk) halt <= closed;
  assign idle = used == 0 && !closed && !load && !launch;
  assign running = used != 0;
  assign full = used[1] || closed;
  wire accept = start && !reset && error == 0 && !full;
  wire retire = &has_finished && !halting;
  wire calm = halting && halted && &quiet;

  always_ff @(posedge clk)
    if (rst) begin
      used <= 0;
      halting <= 0;
      halted <= 0;
      resetting <= 0;
      error <= 0;
      done <= 0;
      over <= 0;
      zero <= 0;
      load <= 0;
      launch <= 0;
      set <= 1;
      clear <= 1;
      finishes <= 0;
    end else begin
      load <= accept && !bad;
      launch <= load && !halting;
      if (accept) set <= !set;
      clear <= calm;
      zero <= calm && resetting;
      over <= retire || (calm && !resetting);
      halted <= halting;
      for (int p = 0; p < PORTS; p++)
        finishes[p] <= finishes[p] + {1'b0, finished[p]} - {1'b0, retire};
      used <= used + {1'b0, accept} - {1'b0, retire};
      if (retire) done <= done + 1'b1;

      if (accept && bad) begin
        error   <= 3;
        halting <= 1;
      end else if (cause != 0 && !closed) begin
        if (error == 0) error <= cause[0] ? 4'd1 : cause[1] ? 4'd2 : 4'd4;
        halting <= 1;
      end
      if (calm) begin
        halting <= 0;
        resetting <= 0;
        used <= 0;
        finishes <= 0;
        set <= 1;
        done <= resetting ? 8'd0 : done + {6'd0, used};
      end
      if (reset) begin
        error <= 0;
        halting <= 1;
        resetting <= 1;
        // A halt that was about to end begins anew.
        halted <= 0;
      end
    end
endmodule
`default_nettype wire
