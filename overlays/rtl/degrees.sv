// Fetches the degree of each target: how many edges were ever inserted there.
`default_nettype none
module degrees (
  input  wire              clk,
  input  wire              rst,
  input  wire  [1:0][31:0] list,
  input  wire              in_valid,
  input  wire  [31:0]      in_target,
  input  wire              in_set,
  output wire              in_take,
  output wire              request,
  output logic [32:0]      address,
  output wire              set,
  input  wire              grant,
  input  wire              arrives,
  input  wire  [63:0]      data,
  output wire              out_valid,
  output wire  [31:0]      out_target,
  output wire              out_set,
  output wire  [63:0]      out_degree,
  input  wire              out_take
);
  logic asking;
  logic [32:0] asked;  // set, target
  wire [4:0] known;
  wire unused_valid;
  wire [4:0] unused_count;
  assign in_take = in_valid && (!asking || grant);
  assign request = asking && !known[4];
  assign set = asked[32];

  wire [31:0] start = list[in_set];
  wire [29:0] sum = {1'b0, start[31:3]} + {1'b0, in_target[28:0]};
  always_ff @(posedge clk)
    if (rst) asking <= 0;
    else if (in_take) asking <= 1;
    else if (grant) asking <= 0;
  always_ff @(posedge clk)
    if (in_take) begin
      asked   <= {in_set, in_target};
      address <= {sum[29] || in_target[31:29] != 0, sum[28:0], 3'b0};
    end

  // A target waits here from its request on, so its degree always has room.
  fifo #(.WIDTH(33), .LOG2(4)) asked_for (
    .clk, .rst, .push(grant), .in(asked), .pop(out_take), .out({out_set, out_target}),
    .valid(unused_valid), .count(known)
  );
  fifo #(.WIDTH(64), .LOG2(4)) answers (
    .clk, .rst, .push(arrives), .in(data), .pop(out_take), .out(out_degree), .valid(out_valid),
    .count(unused_count)
  );
endmodule
`default_nettype wire
