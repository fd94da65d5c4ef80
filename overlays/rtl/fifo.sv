// A queue in distributed memory whose oldest word is visible without being asked for. It does not
// guard itself: who pushes has looked at count, who pops at valid.
`default_nettype none
module fifo #(
  parameter int WIDTH = 64,
  parameter int LOG2 = 4
) (
  input  wire              clk,
  input  wire              rst,
  input  wire              push,
  input  wire  [WIDTH-1:0] in,
  input  wire              pop,
  output wire  [WIDTH-1:0] out,
  output logic             valid,
  output logic [   LOG2:0] count
);
  (* ram_style = "distributed" *) logic [WIDTH-1:0] words[1<<LOG2];
  logic [LOG2-1:0] head, tail;
  assign out = words[head];

  always_ff @(posedge clk) if (push) words[tail] <= in;

  always_ff @(posedge clk)
    if (rst) begin
      head  <= 0;
      tail  <= 0;
      count <= 0;
      valid <= 0;
    end else begin
      if (push) tail <= tail + 1'b1;
      if (pop) head <= head + 1'b1;
      if (push && !pop) count <= count + 1'b1;
      if (pop && !push) count <= count - 1'b1;
      // Kept apart from count, so that no comparison stands in the way of who waits for it.
      valid <= push || (valid && !(pop && count == 1));
    end
`ifdef VERILATOR
  always_ff @(posedge clk)
    if (!rst) begin
      assert (!(push && !pop && count[LOG2])) else $error("overflow of %m");
      assert (!(pop && !valid)) else $error("underflow of %m");
    end
`endif
endmodule
`default_nettype wire
